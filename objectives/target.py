"""Where the model will serve, and on what shape of input it is timed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """One device with its thread count and one shape of input."""

    device: str = "cpu"
    """A torch device: ``cpu``, ``cuda`` or ``cuda:1``."""
    threads: int = 1
    batch_size: int = 1
    sequence_length: int = 128

    @property
    def is_cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def slug(self) -> str:
        """The target as part of a file name."""
        device = self.device.replace(":", "")
        return f"{device}-threads{self.threads}-batch{self.batch_size}-length{self.sequence_length}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
