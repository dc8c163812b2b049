"""Interrupt a command on SIGTERM in the same way as on Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupt_on_sigterm() -> Iterator[Callable[[], int]]:
    """Raise ``KeyboardInterrupt`` in the main thread on SIGTERM too.

    Yields a function that returns, after a ``KeyboardInterrupt``, the exit code that shells expect: 130 or 143. The
    exception itself cannot tell, because Ray replaces it with another one.
    """
    received = signal.SIGINT

    def terminate(number: int, frame: Any) -> None:  # noqa: ARG001
        nonlocal received
        received = signal.SIGTERM
        raise KeyboardInterrupt

    def exit_code() -> int:
        return 128 + received

    if threading.current_thread() is not threading.main_thread():
        yield exit_code
        return
    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield exit_code
    finally:
        signal.signal(signal.SIGTERM, previous if previous is not None else signal.SIG_DFL)
