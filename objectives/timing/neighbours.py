"""What other processes do while something is timed: they disturb it even where they leave it a processor for itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from autoopt.objectives.target import Target
from autoopt.objectives.timing.nvml import Gpu

Watch: TypeAlias = Callable[[], Callable[[], float | None]]
"""Called when the timing begins. What it returns is called at its end and says how much of the device the others used
meanwhile: processors, or a share of the GPU; None where it cannot be known."""

PROCESSORS_TOLERATED = 0.3
"""A system at rest uses a few hundredths of a processor, one busy neighbour uses a whole one."""
GPU_TOLERATED = 0.05

_STAT = Path("/proc/stat")
_BUSY = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""The columns of ``/proc/stat``. ``steal`` is what the host gave to other guests."""
_IDLE = frozenset({"idle", "iowait"})
_UNCERTAIN_TICKS = 2
"""The kernel counts in ticks: at both ends of the timing up to one is counted on the wrong side."""


def nobody_looks() -> Callable[[], float | None]:
    """Watch nothing: what others do is not known."""
    return lambda: None


def on_processors(
    *,
    stat: Path = _STAT,
    own: Callable[[], float] = time.process_time,
    wall: Callable[[], float] = time.perf_counter,
) -> Callable[[], float | None]:
    """Watch the processors that this process may use.

    All that they did, less what this process did itself; stolen time counts as others' work. Linux only.
    """
    busy, used, begun = _busy_seconds(stat), own(), wall()

    def ended() -> float | None:
        busy_now, passed = _busy_seconds(stat), wall() - begun
        if busy is None or busy_now is None or passed <= 0:
            return None
        others = busy_now - busy - (own() - used) - _UNCERTAIN_TICKS / _ticks_per_second()
        return max(0.0, others) / passed

    return ended


def on_gpu(target: Target, *, gpu: Gpu | None = None) -> Callable[[], float | None]:
    """Watch the target's GPU through NVML, where there is one to ask."""
    asked = gpu or Gpu.of(target)
    begun_us = time.time_ns() // 1000
    return lambda: None if asked is None else asked.share_of_others(since_us=begun_us)


def gpu_clock_mhz(target: Target) -> float | None:
    """The clock of the target's GPU at this moment, where NVML tells it."""
    gpu = Gpu.of(target)
    return None if gpu is None else gpu.clock_mhz()


def _busy_seconds(stat: Path) -> float | None:
    """What our processors did since the machine was started, together; None where the kernel does not say."""
    if not stat.is_file():
        return None
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    ticks = 0
    for line in stat.read_text(encoding="ascii").splitlines():
        name, *columns = line.split()
        if name in ours:
            counted = dict(zip(_BUSY, map(int, columns), strict=False))
            ticks += sum(number for column, number in counted.items() if column not in _IDLE)
    return ticks / _ticks_per_second()


def _ticks_per_second() -> int:
    return os.sysconf("SC_CLK_TCK")
