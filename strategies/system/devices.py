"""The device that trials train on: where models and batches go, what it has done, how much memory it took.

All that trials ask of a GPU goes through ``Device``, so that a test can stand in for one. The timing of finished models
has a clock and counters of its own, in ``objectives/timing``.
"""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.strategies.errors import Shortage

if TYPE_CHECKING:
    import torch


_DRIVER = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Device:
    """A device of torch, ``cpu`` or ``cuda:N``, as a place for training."""

    name: str = "cpu"
    share: float = 1.0
    """Part of a GPU that a worker has; the others have the rest."""

    @property
    def is_gpu(self) -> bool:
        return self.name.startswith("cuda")

    @property
    def torch_device(self) -> torch.device:
        import torch

        return torch.device(self.name)

    @property
    def label(self) -> str:
        """Name of the hardware for people; ``cpu`` for any processor."""
        import torch

        return torch.cuda.get_device_name(self.name) if self.is_gpu else self.name

    def place(self, model: Any) -> Any:
        """Move a model here, in place, and return it."""
        return model.to(self.torch_device)

    @property
    def loads_ahead(self) -> bool:
        """Whether a thread prepares the next batch of a training while this device computes."""
        return self.is_gpu

    def pin(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return a batch of the CPU in pinned memory if this is a GPU, which can copy it while it computes."""
        if not self.is_gpu:
            return dict(batch)
        import torch

        with torch.cuda.device(self.torch_device):  # A new thread is at the first GPU.
            return {name: tensor.pin_memory() for name, tensor in batch.items()}

    def send(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return a batch of the CPU here, by way of pinned memory."""
        if not self.is_gpu:
            return dict(batch)
        return {name: tensor.to(self.torch_device, non_blocking=True) for name, tensor in self.pin(batch).items()}

    def synchronize(self) -> None:
        """Wait until all queued work of this process is done."""
        if self.is_gpu:
            import torch

            torch.cuda.synchronize(self.name)

    def reset_peak(self) -> None:
        """Begin to measure ``peak_bytes``."""
        if self.is_gpu:
            import torch

            # If this is the first that is asked of the GPU, the allocator would refuse.
            torch.cuda.init()  # type: ignore[no-untyped-call]
            torch.cuda.reset_peak_memory_stats(self.name)

    def peak_bytes(self) -> int | None:
        """Return the most memory that this process had allocated since ``reset_peak``; None for a CPU."""
        if not self.is_gpu:
            return None
        import torch

        return torch.cuda.max_memory_allocated(self.name)

    def total_bytes(self) -> int | None:
        """Return the memory of this GPU; None for a CPU."""
        if not self.is_gpu:
            return None
        import torch

        return int(torch.cuda.get_device_properties(self.name).total_memory)

    def free_bytes(self) -> int | None:
        """Return how much of it no process has allocated; None for a CPU."""
        if not self.is_gpu:
            return None
        import torch

        return int(torch.cuda.mem_get_info(self.name)[0])

    @property
    def identity(self) -> str:
        """The same for all processes that use this GPU, whatever number it has in them."""
        import torch

        return str(torch.cuda.get_device_properties(self.name).uuid) if self.is_gpu else self.name

    @property
    def has_utilization(self) -> bool:
        """Whether ``utilization`` may be known."""
        return self.is_gpu

    def utilization(self) -> float | None:
        """Return the share of the last moment in which this GPU computed; None for a CPU or without NVML."""
        from autoopt.strategies.system.nvml import Gpu

        gpu = Gpu.of(self.name)
        return None if gpu is None else gpu.utilization()

    def release(self) -> None:
        """Give cached memory back, so that other workers on the device can have it."""
        if self.is_gpu:
            import torch

            gc.collect()
            torch.cuda.empty_cache()

    def shortage(self, message: str) -> Shortage:
        """Return what an allocation that failed with this message of torch would have needed."""
        asked = re.search(r"[Tt]ried to allocate ([\d.]+) ([KMGT])iB", message)
        total = re.search(r"total capacity of ([\d.]+) ([KMGT])iB", message)
        return Shortage(
            device=self.label,
            used_bytes=self.peak_bytes() or 0,
            asked_bytes=_bytes(asked) if asked else None,
            total_bytes=self.total_bytes() or (_bytes(total) if total else None),
        )


def _bytes(match: re.Match[str]) -> int:
    return round(float(match[1]) * 1024.0 ** (1 + "KMGT".index(match[2])))


CPU = Device()

_training: ContextVar[Device] = ContextVar("training_device", default=CPU)


def training_device() -> Device:
    """Return the device that trainings of this thread run on: the CPU outside of ``training_on``."""
    return _training.get()


def device_at(place: torch.device) -> Device:
    """Return the training device if it is at ``place``, else another one there."""
    device = _training.get()
    return device if device.torch_device == place else Device(str(place))


@contextmanager
def training_on(device: Device) -> Iterator[None]:
    """Run the trainings within the block on this device."""
    token = _training.set(device)
    try:
        yield
    finally:
        _training.reset(token)


def gpu_count() -> int:
    """Return the number of GPUs that torch sees in this process."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpu_names() -> list[str]:
    """Return the name of each GPU that torch sees in this process."""
    return [Device(f"cuda:{number}").label for number in range(gpu_count())]


def largest_gpu_bytes() -> int | None:
    """Return the memory of the largest GPU that torch sees in this process; None without one."""
    return max((Device(f"cuda:{number}").total_bytes() or 0 for number in range(gpu_count())), default=None)


def hidden_gpu_count(driver: Path = _DRIVER) -> int:
    """Return how many GPUs the driver of this machine has, if torch sees none of them; else 0.

    ``CUDA_VISIBLE_DEVICES`` says that this is intended.
    """
    if "CUDA_VISIBLE_DEVICES" in os.environ or not driver.is_dir():
        return 0
    return 0 if gpu_count() else len(list(driver.iterdir()))


def worker_device(gpus: float, *, number: int = 0) -> Device:
    """Return where a worker with this many GPUs trains; ``number`` counts workers that see the same GPUs.

    A worker trains on one GPU, also if it has several.
    """
    count = gpu_count() if gpus > 0 else 0
    return Device(f"cuda:{number % count}", min(1.0, gpus)) if count else CPU


def gpu_share(gpus: int, workers: int) -> float:
    """Return how much of a GPU each of ``workers`` gets if ``gpus`` are shared out: 1, 1/2, 1/3, ...; 0 without GPUs.

    A worker never has parts of two GPUs, so 3 workers on 2 GPUs have half of one each.
    """
    if gpus == 0:
        return 0.0
    return int(10_000 / -(-workers // gpus)) / 10_000  # Ray counts in ten-thousandths.
