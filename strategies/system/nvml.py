"""Load, energy, clocks and other processes of an NVIDIA GPU through NVML; nothing without ``pynvml`` and a driver."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any

PACKAGE = "nvidia-ml-py"
"""Package of the module ``pynvml``."""


@dataclass(frozen=True)
class Gpu:
    """One GPU, accessed through NVML."""

    library: Any
    handle: Any

    @classmethod
    def of(cls, device: str) -> Gpu | None:
        """Return the GPU of a device of torch; None for a CPU, or if NVML is not installed or finds no driver."""
        library = _library()
        if library is None or not device.startswith("cuda"):
            return None
        import torch

        # By UUID: CUDA numbers only the visible GPUs.
        identifier = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        try:
            library.nvmlInit()
            return cls(library, library.nvmlDeviceGetHandleByUUID(identifier))
        except library.NVMLError:
            return None

    def joules(self) -> float | None:
        """Return the energy of the whole board since the driver was loaded; None if the GPU does not count it."""
        try:
            return float(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1000
        except self.library.NVMLError:
            return None

    def clock_mhz(self) -> float | None:
        """Return the current clock of its multiprocessors; None if unavailable."""
        try:
            return float(self.library.nvmlDeviceGetClockInfo(self.handle, self.library.NVML_CLOCK_SM))
        except self.library.NVMLError:
            return None

    def limits(self) -> dict[str, int]:
        """Return the maximum clocks in MHz and the power limit in mW, as far as available."""
        library, limits = self.library, {}
        queries = {
            "sm_mhz": ("nvmlDeviceGetMaxClockInfo", library.NVML_CLOCK_SM),
            "memory_mhz": ("nvmlDeviceGetMaxClockInfo", library.NVML_CLOCK_MEM),
            "power_mw": ("nvmlDeviceGetEnforcedPowerLimit",),
        }
        for name, (function, *arguments) in queries.items():
            try:
                limits[name] = int(getattr(library, function)(self.handle, *arguments))
            except library.NVMLError:
                continue  # Not every board reports every limit.
        return limits

    def utilization(self) -> float | None:
        """Return the share of the last moment in which it computed, for whichever process; None if unknown."""
        try:
            return float(self.library.nvmlDeviceGetUtilizationRates(self.handle).gpu) / 100
        except self.library.NVMLError:
            return None

    def share_of_others(self, *, since_us: int) -> float | None:
        """Return the share of its multiprocessors that other processes used since then, 0 to 1; None if unknown.

        In a container NVML lists the pids of the host: the busiest process is then taken for this one, which may take
        a disturbance for smaller than it is, but never finds one where there is none.
        """
        library, own = self.library, os.getpid()
        try:
            pids = {process.pid for process in library.nvmlDeviceGetComputeRunningProcesses(self.handle)}
            if len(pids) == 1:
                return 0.0  # The one that asks.
            samples = library.nvmlDeviceGetProcessUtilization(self.handle, since_us)
        except library.NVMLError:
            return None
        if not pids:
            return None
        shares: dict[int, int] = {}
        for sample in samples:
            shares[sample.pid] = max(0, int(sample.smUtil), shares.get(sample.pid, 0))
        if own not in pids:
            own = max(shares, key=shares.__getitem__, default=own)
        return min(1.0, sum(share for pid, share in shares.items() if pid != own) / 100)


def _library() -> ModuleType | None:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None
