"""How a command is stopped from outside: a request to terminate ends it in the same orderly way as Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM was received. Whatever cleans up after Ctrl-C cleans up after this too."""


def exit_code(stop: KeyboardInterrupt) -> int:
    """As shells count: 128 and the number of the signal."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


@contextmanager
def orderly() -> Iterator[None]:
    """Raise ``Terminated`` in the main thread on SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _terminate(number: int, frame: Any) -> None:  # noqa: ARG001
    raise Terminated
