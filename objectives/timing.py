"""One sample: how long a call takes by the wall clock and by the processor, and under which conditions."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import TypeAlias

from autoopt.objectives.target import Target

Call: TypeAlias = Callable[[], object]
"""What is timed. It holds nothing but the work itself."""


def _nothing() -> None:
    """The processor has done all its work when a call returns."""


@dataclass(frozen=True)
class Clock:
    """What a sample reads: both in seconds, neither ever goes back."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    synchronize: Callable[[], None] = _nothing
    """Waits until the device has finished what it was given."""

    @classmethod
    def of(cls, target: Target) -> Clock:
        if not target.is_cuda:
            return cls()
        import torch

        return cls(synchronize=lambda: torch.cuda.synchronize(target.device))


@dataclass(frozen=True)
class Sample:
    """The duration of one call."""

    wall_s: float
    cpu_s: float


def take(call: Call, clock: Clock, *, repeats: int = 1) -> Sample:
    """Time ``repeats`` calls in a row; the mean of one of them."""
    clock.synchronize()
    cpu, wall = clock.cpu(), clock.wall()
    for _ in repeat(None, repeats):
        call()
    clock.synchronize()
    wall_s, cpu_s = clock.wall() - wall, clock.cpu() - cpu
    return Sample(wall_s / repeats, cpu_s / repeats)


@contextmanager
def conditions(target: Target) -> Iterator[None]:
    """The target's number of threads, no gradients, no garbage collection; all put back afterwards."""
    import torch

    threads, collecting = torch.get_num_threads(), gc.isenabled()
    gc.disable()
    torch.set_num_threads(target.threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
        if collecting:
            gc.enable()
