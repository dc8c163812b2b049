"""Callbacks during training: progress reports, and visits to the model at given shares of the steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TypeAlias

INTERVAL_S = 5.0
"""Time between two reports."""

Report: TypeAlias = Callable[[int, int], None]
"""Called with the number of steps done and their total."""

Visit: TypeAlias = Callable[[Any], None]
"""Called with the model being trained, in eval mode; may end the training by raising."""

_report: ContextVar[Report | None] = ContextVar("report", default=None)
_visits: ContextVar[Mapping[float, Visit]] = ContextVar("visits", default=MappingProxyType({}))


@contextmanager
def reporting(report: Report, *, interval_s: float = INTERVAL_S) -> Iterator[None]:
    """Call ``report`` every ``interval_s`` seconds while a training runs within the block."""
    last = time.monotonic()

    def report_if_due(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= interval_s:
            last = time.monotonic()
            report(done, total)

    token = _report.set(report_if_due)
    try:
        yield
    finally:
        _report.reset(token)


@contextmanager
def visiting(visits: Mapping[float, Visit]) -> Iterator[None]:
    """Call each visit once a training within the block has done its share of the steps, in (0, 1).

    A training that resumes from a checkpoint beyond a share skips the visit there.
    """
    token = _visits.set(visits)
    try:
        yield
    finally:
        _visits.reset(token)


def step_done(
    done: int, total: int, model: Any, *, scoring: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> None:
    """Report the end of a training step and make the visits due, each within ``scoring``.

    ``model`` is in training mode, before and after.
    """
    if (report := _report.get()) is not None:
        report(done, total)
    for share, visit in _visits.get().items():
        if done - 1 < share * total <= done < total:
            model.eval()
            with scoring():
                visit(model)
            model.train()
