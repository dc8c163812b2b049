"""One sample: how long a call takes by the wall clock and by the processor, and under which conditions."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeAlias

from autoopt.objectives.target import Target
from autoopt.objectives.timing.neighbours import (
    GPU_TOLERATED,
    PROCESSORS_TOLERATED,
    Watch,
    gpu_clock_mhz,
    nobody_looks,
    on_gpu,
    on_processors,
)

Call: TypeAlias = Callable[[], object]
"""What is timed. It holds nothing but the work itself."""


def _nothing() -> None:
    """The processor has done all its work when a call returns."""


def _at_once(seconds: float) -> None:
    """Time on a made-up clock passes by itself."""


@dataclass(frozen=True)
class Clock:
    """What a sample reads: both in seconds, neither ever goes back."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    synchronize: Callable[[], None] = _nothing
    """Waits until the device has finished what it was given."""
    watch: Watch = nobody_looks
    """Looks at what other processes do meanwhile."""
    tolerated: float = PROCESSORS_TOLERATED
    """So much of the device may others use before a measurement counts as disturbed."""
    pause: Callable[[float], None] = _at_once
    """Waits so many seconds for a disturbance to pass."""
    frequency_mhz: Callable[[], float | None] = _nothing
    """The GPU's clock at this moment; None for a processor, whose own moves from one core to the next."""

    @classmethod
    def of(cls, target: Target) -> Clock:
        """The clock of the target's device: CUDA's own events for a GPU."""
        if not target.is_cuda:
            return cls(watch=on_processors, pause=time.sleep)
        import torch

        return EventClock(
            synchronize=lambda: torch.cuda.synchronize(target.device),
            watch=lambda: on_gpu(target),
            tolerated=GPU_TOLERATED,
            pause=time.sleep,
            frequency_mhz=lambda: gpu_clock_mhz(target),
            event=lambda: torch.cuda.Event(enable_timing=True),  # type: ignore[no-untyped-call]
            stream=lambda: torch.cuda.current_stream(target.device),
        )

    def start(self) -> Any:
        """A moment that ``seconds_since`` is asked about."""
        return self.wall()

    def seconds_since(self, start: Any) -> float:
        """From ``start`` until the device has finished what it was given."""
        self.synchronize()
        return self.wall() - float(start)


@dataclass(frozen=True)
class EventClock(Clock):
    """Time as the GPU itself notes it, between two events in its stream of work."""

    event: Callable[[], Any] = _nothing
    stream: Callable[[], Any] = _nothing

    def start(self) -> Any:
        begun = self.event()
        begun.record(self.stream())
        return begun

    def seconds_since(self, start: Any) -> float:
        ended = self.event()
        ended.record(self.stream())
        self.synchronize()
        return float(start.elapsed_time(ended)) / 1000


@dataclass(frozen=True)
class Sample:
    """The duration of one call."""

    wall_s: float
    cpu_s: float


def take(call: Call, clock: Clock, *, repeats: int = 1) -> Sample:
    """Time ``repeats`` calls in a row; the mean of one of them."""
    clock.synchronize()
    cpu, start = clock.cpu(), clock.start()
    for _ in repeat(None, repeats):
        call()
    wall_s, cpu_s = clock.seconds_since(start), clock.cpu() - cpu
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
