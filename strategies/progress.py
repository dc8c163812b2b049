"""Progress: how far a training is, for whoever looks on, and what its model is worth on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

SECONDS = 5.0
"""Between two reports."""

Look: TypeAlias = Callable[[int, int], None]
"""Called with the steps that are done and their total."""

Visit: TypeAlias = Callable[[Any], None]
"""Called with the model that trains, in eval mode; may end the training by an exception of its own."""

_look: ContextVar[Look | None] = ContextVar("look", default=None)
_visit: ContextVar[tuple[float, Visit] | None] = ContextVar("visit", default=None)


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


@contextmanager
def visited(visit: Visit, *, at: float) -> Iterator[None]:
    """Call ``visit`` once a training within the block has done this share of its steps, in (0, 1).

    A training that goes on from a checkpoint beyond it is not visited.
    """
    token = _visit.set((at, visit))
    try:
        yield
    finally:
        _visit.reset(token)


def tell(done: int, total: int, model: Any) -> None:
    """A step of training is done; ``model`` is in training mode, now and afterwards."""
    if (look := _look.get()) is not None:
        look(done, total)
    if (visited_at := _visit.get()) is not None and done - 1 < visited_at[0] * total <= done < total:
        model.eval()
        visited_at[1](model)
        model.train()
