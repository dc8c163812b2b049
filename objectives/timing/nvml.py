"""Energy, clocks and other processes of an NVIDIA GPU through NVML; nothing without ``pynvml`` and a driver."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from autoopt.objectives.target import Target

PACKAGE = "nvidia-ml-py"
"""Package of the module ``pynvml``."""


@dataclass(frozen=True)
class Gpu:
    """One GPU, accessed through NVML."""

    library: Any
    handle: Any

    @classmethod
    def of(cls, target: Target) -> Gpu | None:
        """Return the target's GPU; None if NVML is not installed or finds no driver."""
        library = _library()
        if library is None or not target.is_cuda:
            return None
        import torch

        # By UUID: CUDA numbers only the visible GPUs.
        identifier = f"GPU-{torch.cuda.get_device_properties(target.device).uuid}"
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

    def share_of_others(self, *, since_us: int) -> float | None:
        """Return the share of its multiprocessors that other processes used since then, 0 to 1; None if unknown."""
        library, own = self.library, os.getpid()
        try:
            pids = {process.pid for process in library.nvmlDeviceGetComputeRunningProcesses(self.handle)}
            utilization = library.nvmlDeviceGetProcessUtilization(self.handle, since_us)
        except library.NVMLError:
            return None
        if own not in pids:
            return None  # In a container NVML lists the pids of the host: our own cannot be told from the others.
        shares = {sample.pid: max(0, int(sample.smUtil)) for sample in utilization if sample.pid != own}
        return min(1.0, sum(shares.values()) / 100)


def _library() -> ModuleType | None:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None
