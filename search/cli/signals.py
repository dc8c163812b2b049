"""Stopping a command: the first Ctrl-C or SIGTERM ends it orderly, the second at once, the third kills it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """How often a command was told to stop, by which signal, and what to print if it cannot end orderly."""

    def __init__(self) -> None:
        self.count = 0
        self.received: int = signal.SIGINT
        self.notes: list[Callable[[], str]] = []
        """Each returns how to go on; the latest is the last."""

    @property
    def exit_code(self) -> int:
        """The code that shells expect, 130 or 143. The exception cannot tell, because Ray replaces it."""
        return 128 + self.received

    def receive(self, number: int) -> None:
        """Count a signal; end at once from the second on. Called in a thread, so that no busy library delays it."""
        self.count += 1
        if self.count == 1:
            self.received = number
        elif self.count == 2:
            # In a thread of its own: a third signal must not wait for it.
            threading.Thread(target=self._end_at_once, daemon=True).start()
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    def _end_at_once(self) -> None:
        try:
            kill_children()
            os.write(2, b"\nError: stopped at once; trials that were running run again\n")
            for note in self.notes[-1:]:
                os.write(2, f"{note()}\n".encode(errors="replace"))
        finally:
            os._exit(self.exit_code)


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Raise ``KeyboardInterrupt`` in the main thread on the first SIGINT or SIGTERM within the block.

    Python runs handlers in the main thread, between two of its instructions; a library may keep it from that for long.
    So a thread reads the signals from a socket, to which they are written as they arrive.
    """
    state = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return

    was_raised = False

    def interrupt(number: int, frame: Any) -> None:  # noqa: ARG001
        nonlocal was_raised
        if not was_raised:  # Later signals are the thread's alone: the command is ending.
            was_raised = True
            state.received = number  # The thread may be later.
            raise KeyboardInterrupt

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    previous_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    previous = {number: signal.signal(number, interrupt) for number in SIGNALS}
    listener = threading.Thread(target=_listen, args=(reader, state), name="autoopt-signals", daemon=True)
    listener.start()
    try:
        yield state
    finally:
        for number, handler in previous.items():
            # A further signal while the interpreter ends would print a traceback by Python's own handler.
            is_ending = state.count > 0 or handler is None
            signal.signal(number, signal.SIG_DFL if is_ending else handler)
        signal.set_wakeup_fd(previous_fd)
        writer.close()
        listener.join()
        reader.close()


def _listen(reader: socket.socket, state: Interruption) -> None:
    while number := reader.recv(1):
        if number[0] in SIGNALS:
            state.receive(number[0])


def kill_children() -> None:
    """Kill every process that this one has started, and those that they have started."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.Error:
            continue
