"""Progress: how far a training is, for whoever looks on, and what its model is worth on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TypeAlias

SECONDS = 5.0
"""Between two reports."""

Look: TypeAlias = Callable[[int, int], None]
"""Called with the steps that are done and their total."""

Visit: TypeAlias = Callable[[Any], None]
"""Called with the model that trains, in eval mode; may end the training by an exception of its own."""

_look: ContextVar[Look | None] = ContextVar("look", default=None)
_visits: ContextVar[Mapping[float, Visit]] = ContextVar("visits", default=MappingProxyType({}))


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
def visited(visits: Mapping[float, Visit]) -> Iterator[None]:
    """Call each visit as soon as a training within the block has done its share of the steps, in (0, 1).

    A training that resumes from a checkpoint beyond a share skips the visit there.
    """
    token = _visits.set(visits)
    try:
        yield
    finally:
        _visits.reset(token)


def tell(done: int, total: int, model: Any) -> None:
    """A step of training is done; ``model`` is in training mode, now and afterwards."""
    if (look := _look.get()) is not None:
        look(done, total)
    for share, visit in _visits.get().items():
        if done - 1 < share * total <= done < total:
            model.eval()
            visit(model)
            model.train()
