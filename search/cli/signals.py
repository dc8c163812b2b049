"""How a command is stopped from outside: a request to terminate ends it in the same orderly way as Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def orderly() -> Iterator[Callable[[], int]]:
    """Raise ``KeyboardInterrupt`` in the main thread on SIGTERM too.

    Yields what says, after a ``KeyboardInterrupt``, the exit code that shells expect: 130 or 143. It cannot be told
    from the exception, of which Ray makes another one on the way.
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
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield exit_code
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
