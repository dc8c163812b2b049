"""A stand-in for a GPU: it computes on the CPU, has as much memory as it is given, and records what is asked of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from autoopt.strategies.system.devices import Device


@dataclass(frozen=True)
class RecordingDevice(Device):
    """A device whose memory holds batches of at most ``fits`` examples."""

    fits: int = 10**9
    calls: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return "Stand-in 80GB"

    def place(self, model: Any) -> Any:
        self.calls.append(f"place {type(model).__name__}")
        return super().place(model)

    @property
    def loads_ahead(self) -> bool:
        return True

    def pin(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.calls.append(f"pin {len(next(iter(batch.values())))} in {threading.current_thread().name.split('_')[0]}")
        return super().pin(batch)

    def send(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        rows = len(next(iter(batch.values())))
        self.calls.append(f"send {rows}")
        if rows > self.fits:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 80.00 GiB of which ..."
            )
        return super().send(batch)

    def synchronize(self) -> None:
        self.calls.append("synchronize")

    def reset_peak(self) -> None:
        self.calls.append("reset peak")

    def peak_bytes(self) -> int:
        return 3 * 2**30

    def total_bytes(self) -> int:
        return 80 * 2**30

    def free_bytes(self) -> int:
        return 80 * 2**30

    @property
    def identity(self) -> str:
        return f"stand-in-{id(self.calls)}"

    @property
    def has_utilization(self) -> bool:
        return True

    def utilization(self) -> float:
        return 0.87

    def release(self) -> None:
        self.calls.append("release")

    def sent(self) -> list[int]:
        """Return the sizes of the batches in order."""
        return [int(call.split()[1]) for call in self.calls if call.startswith("send")]
