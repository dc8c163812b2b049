"""Load of other processes during a timing: they disturb it even if they leave it a processor for itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from autoopt.objectives.target import Target
from autoopt.strategies.system.nvml import Gpu

Watch: TypeAlias = Callable[[], Callable[[], float | None]]
"""Called when the timing begins. Returns a function to call at its end, which returns how much of the device other
processes used meanwhile: processors, or a share of the GPU; None if unknown."""

MAX_OTHER_PROCESSORS = 0.3
"""A system at rest uses a few hundredths of a processor, a busy process a whole one."""
MAX_OTHER_GPU_SHARE = 0.05

_STAT = Path("/proc/stat")
_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""The columns of ``/proc/stat`` after the name. ``steal`` is time that the host gave to other guests."""
_IDLE = frozenset({"idle", "iowait"})
_UNCERTAIN_TICKS = 2
"""The kernel counts in ticks: at each end of the timing up to one falls on the wrong side."""


def watch_nothing() -> Callable[[], float | None]:
    """Watch nothing: the load of others is unknown."""
    return lambda: None


def watch_processors(
    *,
    stat: Path = _STAT,
    own: Callable[[], float] = time.process_time,
    wall: Callable[[], float] = time.perf_counter,
) -> Callable[[], float | None]:
    """Watch the processors that this process may use.

    The load of others is their total busy time, stolen time included, less this process's own. Linux only.
    """
    busy_before, own_before, started_at = _busy_seconds(stat), own(), wall()

    def stop() -> float | None:
        busy_after, elapsed_s = _busy_seconds(stat), wall() - started_at
        if busy_before is None or busy_after is None or elapsed_s <= 0:
            return None
        uncertain_s = _UNCERTAIN_TICKS / _ticks_per_second()
        others_s = busy_after - busy_before - (own() - own_before) - uncertain_s
        return max(0.0, others_s) / elapsed_s

    return stop


def watch_gpu(target: Target, *, gpu: Gpu | None = None) -> Callable[[], float | None]:
    """Watch the target's GPU through NVML, if available."""
    watched = gpu or Gpu.of(target.device)
    started_us = time.time_ns() // 1000
    return lambda: None if watched is None else watched.share_of_others(since_us=started_us)


def gpu_clock_mhz(target: Target) -> float | None:
    """Return the current clock of the target's GPU; None without NVML."""
    gpu = Gpu.of(target.device)
    return None if gpu is None else gpu.clock_mhz()


def _busy_seconds(stat: Path) -> float | None:
    """Return the busy time of this process's processors since boot, summed; None without ``/proc/stat``."""
    if not stat.is_file():
        return None
    allowed = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    ticks = 0
    for line in stat.read_text(encoding="ascii").splitlines():
        name, *columns = line.split()
        if name in allowed:
            counts = dict(zip(_COLUMNS, map(int, columns), strict=False))
            ticks += sum(count for column, count in counts.items() if column not in _IDLE)
    return ticks / _ticks_per_second()


def _ticks_per_second() -> int:
    return os.sysconf("SC_CLK_TCK")
