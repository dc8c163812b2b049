"""The device that trials train on: where models and batches go, what it has done, how much memory it took.

All that trials ask of a GPU goes through ``Device``, so that a test can stand in for one. The timing of finished models
has a clock and counters of its own, in ``objectives/timing``.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Device:
    """A device of torch, ``cpu`` or ``cuda:N``, as a place for training."""

    name: str = "cpu"

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

    def send(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return a batch of the CPU here; from pinned memory, so that a GPU copies it while it computes."""
        if not self.is_gpu:
            return dict(batch)
        return {name: tensor.pin_memory().to(self.torch_device, non_blocking=True) for name, tensor in batch.items()}

    def synchronize(self) -> None:
        """Wait until all queued work of this process is done."""
        if self.is_gpu:
            import torch

            torch.cuda.synchronize(self.name)

    def reset_peak(self) -> None:
        """Begin to measure ``peak_bytes``."""
        if self.is_gpu:
            import torch

            torch.cuda.reset_peak_memory_stats(self.name)

    def peak_bytes(self) -> int | None:
        """Return the most memory that this process had allocated since ``reset_peak``; None for a CPU."""
        if not self.is_gpu:
            return None
        import torch

        return torch.cuda.max_memory_allocated(self.name)

    def release(self) -> None:
        """Give cached memory back, so that other workers on the device can have it."""
        if self.is_gpu:
            import torch

            gc.collect()
            torch.cuda.empty_cache()

    def describe_need(self, message: str) -> str:
        """Return what an allocation that failed with this message would have needed; empty if unknown."""
        asked = re.search(r"[Tt]ried to allocate ([\d.]+ [KMGT]iB)", message)
        total = re.search(r"total capacity of ([\d.]+ [KMGT]iB)", message)
        used = (self.peak_bytes() or 0) / 2**30
        if asked is None:
            return ""
        need = f"{used:.2f} GiB in use and {asked[1]} more" if used else f"{asked[1]} more than it had"
        return f"it needed {need}" + (f", of {total[1]}" if total else "")


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


def worker_device(gpus: float, *, number: int = 0) -> Device:
    """Return where a worker with this many GPUs trains; ``number`` counts workers that see the same GPUs.

    A worker trains on one GPU, also if it has several.
    """
    count = gpu_count() if gpus > 0 else 0
    return Device(f"cuda:{number % count}") if count else CPU


def gpu_share(gpus: int, workers: int) -> float:
    """Return how much of a GPU each of ``workers`` gets if ``gpus`` are shared out: 1, 1/2, 1/3, ...; 0 without GPUs.

    A worker never has parts of two GPUs, so 3 workers on 2 GPUs have half of one each.
    """
    if gpus == 0:
        return 0.0
    return int(10_000 / -(-workers // gpus)) / 10_000  # Ray counts in ten-thousandths.
