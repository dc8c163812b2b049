"""One sample: the wall time and processor time of a call, and the conditions under which it is timed."""

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
    MAX_OTHER_GPU_SHARE,
    MAX_OTHER_PROCESSORS,
    Watch,
    gpu_clock_mhz,
    watch_gpu,
    watch_nothing,
    watch_processors,
)

Call: TypeAlias = Callable[[], object]
"""The work to be timed, and nothing else."""


def _do_nothing() -> None:
    """Stand for a synchronization: a processor has finished when a call returns."""


def _skip_pause(seconds: float) -> None:
    """Stand for a pause: time on a simulated clock passes by itself."""


@dataclass(frozen=True)
class Clock:
    """Sources of wall time and processor time, both in seconds and monotonic."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    synchronize: Callable[[], None] = _do_nothing
    """Waits until the device has finished its queued work."""
    watch: Watch = watch_nothing
    """Observes other processes during the timing."""
    max_others: float = MAX_OTHER_PROCESSORS
    """Load of other processes above which a measurement counts as disturbed."""
    pause: Callable[[float], None] = _skip_pause
    """Waits this many seconds for a disturbance to pass."""
    frequency_mhz: Callable[[], float | None] = _do_nothing
    """The GPU's current clock; None for a processor, whose clock differs from core to core."""

    @classmethod
    def of(cls, target: Target) -> Clock:
        """Return the clock of the target's device: CUDA events on a GPU."""
        if not target.is_cuda:
            return cls(watch=watch_processors, pause=time.sleep)
        import torch

        return EventClock(
            synchronize=lambda: torch.cuda.synchronize(target.device),
            watch=lambda: watch_gpu(target),
            max_others=MAX_OTHER_GPU_SHARE,
            pause=time.sleep,
            frequency_mhz=lambda: gpu_clock_mhz(target),
            event=lambda: torch.cuda.Event(enable_timing=True),  # type: ignore[no-untyped-call]
            stream=lambda: torch.cuda.current_stream(target.device),
        )

    def start(self) -> Any:
        """Return a moment for ``seconds_since``."""
        return self.wall()

    def seconds_since(self, start: Any) -> float:
        """Return the time from ``start`` until the device has finished its queued work."""
        self.synchronize()
        return self.wall() - float(start)


@dataclass(frozen=True)
class EventClock(Clock):
    """Time between two events in the GPU's own stream of work."""

    event: Callable[[], Any] = _do_nothing
    stream: Callable[[], Any] = _do_nothing

    def start(self) -> Any:
        event = self.event()
        event.record(self.stream())
        return event

    def seconds_since(self, start: Any) -> float:
        end = self.event()
        end.record(self.stream())
        self.synchronize()
        return float(start.elapsed_time(end)) / 1000


@dataclass(frozen=True)
class Sample:
    """Duration of one call."""

    wall_s: float
    cpu_s: float


def time_call(call: Call, clock: Clock, *, repeats: int = 1) -> Sample:
    """Time ``repeats`` consecutive calls and return the mean of one."""
    clock.synchronize()
    cpu, start = clock.cpu(), clock.start()
    for _ in repeat(None, repeats):
        call()
    wall_s, cpu_s = clock.seconds_since(start), clock.cpu() - cpu
    return Sample(wall_s / repeats, cpu_s / repeats)


@contextmanager
def conditions(target: Target) -> Iterator[None]:
    """Set the target's thread count, disable gradients and garbage collection; restore all on exit."""
    import torch

    threads, was_collecting = torch.get_num_threads(), gc.isenabled()
    gc.disable()
    torch.set_num_threads(target.threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
        if was_collecting:
            gc.enable()
