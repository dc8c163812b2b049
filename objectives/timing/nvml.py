"""What an NVIDIA GPU's driver tells: energy, clocks, who else computes; nothing without ``pynvml`` and a driver."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from autoopt.objectives.target import Target

PACKAGE = "nvidia-ml-py"
"""The package that has the module ``pynvml``."""


@dataclass(frozen=True)
class Gpu:
    """One GPU as NVML sees it."""

    library: Any
    handle: Any

    @classmethod
    def of(cls, target: Target) -> Gpu | None:
        """The target's GPU; None where NVML is not installed or finds no driver."""
        library = _library()
        if library is None or not target.is_cuda:
            return None
        import torch

        # By its identifier: CUDA numbers only those GPUs that it may see.
        identifier = f"GPU-{torch.cuda.get_device_properties(target.device).uuid}"
        try:
            library.nvmlInit()
            return cls(library, library.nvmlDeviceGetHandleByUUID(identifier))
        except library.NVMLError:
            return None

    def joules(self) -> float | None:
        """What it has used since the driver was loaded, the whole board; None where it does not count."""
        try:
            return float(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1000
        except self.library.NVMLError:
            return None

    def clock_mhz(self) -> float | None:
        """The clock of its processors at this moment."""
        try:
            return float(self.library.nvmlDeviceGetClockInfo(self.handle, self.library.NVML_CLOCK_SM))
        except self.library.NVMLError:
            return None

    def limits(self) -> dict[str, int]:
        """What its speed is bounded by, for a fingerprint: the highest clocks in MHz and the power limit in mW."""
        library, found = self.library, {}
        asked = {
            "sm_mhz": ("nvmlDeviceGetMaxClockInfo", library.NVML_CLOCK_SM),
            "memory_mhz": ("nvmlDeviceGetMaxClockInfo", library.NVML_CLOCK_MEM),
            "power_mw": ("nvmlDeviceGetEnforcedPowerLimit",),
        }
        for name, (function, *arguments) in asked.items():
            try:
                found[name] = int(getattr(library, function)(self.handle, *arguments))
            except library.NVMLError:
                continue  # Not every board has every limit.
        return found

    def share_of_others(self, *, since_us: int) -> float | None:
        """The share of its processors that other processes used since then, from 0 to 1; None where it is not known."""
        library, own = self.library, os.getpid()
        try:
            present = {process.pid for process in library.nvmlDeviceGetComputeRunningProcesses(self.handle)}
            used = library.nvmlDeviceGetProcessUtilization(self.handle, since_us)
        except library.NVMLError:
            return None
        if own not in present:
            return None  # In a container its numbers are those of the host: we could not tell ourselves from others.
        shares = {sample.pid: max(0, int(sample.smUtil)) for sample in used if sample.pid != own}
        return min(1.0, sum(shares.values()) / 100)


def _library() -> ModuleType | None:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None
