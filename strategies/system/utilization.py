"""How busy a device and this process were during some work: the GPU's load through NVML, and processors used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean

from autoopt.strategies.system.devices import Device

INTERVAL_S = 0.5
"""Time between two looks at a GPU's load, which NVML averages over up to a second."""


@dataclass(frozen=True)
class Utilization:
    """Mean load during some work."""

    processors: float
    """Number of processors that this process kept busy."""
    gpu: float | None
    """Share of the time in which the GPU computed, for whichever process; None on a CPU or if unknown."""


@contextmanager
def watching(device: Device, *, interval_s: float = INTERVAL_S) -> Iterator[Callable[[], Utilization]]:
    """Watch the device within the block; the function that it yields returns the load so far."""
    started_at, processor_s = time.monotonic(), time.process_time()
    loads: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(interval_s):
            if (load := device.utilization()) is None:
                return
            loads.append(load)

    def so_far() -> Utilization:
        elapsed_s = max(time.monotonic() - started_at, 1e-9)
        known = loads or [load for load in [device.utilization()] if load is not None]
        return Utilization((time.process_time() - processor_s) / elapsed_s, fmean(known) if known else None)

    thread = threading.Thread(target=watch, name="autoopt-utilization", daemon=True)
    if device.has_utilization:
        thread.start()
    try:
        yield so_far
    finally:
        ended.set()
        if thread.ident is not None:
            thread.join()
