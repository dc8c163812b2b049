"""Progress: how far a training is, for whoever looks on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

SECONDS = 5.0
"""Between two reports."""

Look: TypeAlias = Callable[[int, int], None]
"""Called with the steps that are done and their total."""

_look: ContextVar[Look | None] = ContextVar("look", default=None)


@contextmanager
def shown(look: Look, *, every: float = SECONDS) -> Iterator[None]:
    """Call ``look`` every so many seconds while something trains within the block."""
    last = time.monotonic()

    def now_and_then(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= every:
            last = time.monotonic()
            look(done, total)

    token = _look.set(now_and_then)
    try:
        yield
    finally:
        _look.reset(token)


def tell(done: int, total: int) -> None:
    """A step of training is done."""
    if (look := _look.get()) is not None:
        look(done, total)
