"""The device on which the model will serve, and the shape of the inputs on which it is timed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Target:
    """One device with its thread count and input shapes."""

    device: str = "cpu"
    """A torch device: ``cpu``, ``cuda`` or ``cuda:1``."""
    threads: int = 1
    batch_size: int = 1
    """Examples per call."""
    sequence_length: int = 128
    lengths: tuple[int, ...] = ()
    """Lengths that occur equally often; replace ``sequence_length`` if not empty. See ``timing/lengths.py``."""

    @property
    def is_cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def call_lengths(self) -> tuple[int, ...]:
        """Lengths of the timed calls, in tokens."""
        return self.lengths or (self.sequence_length,)

    @property
    def slug(self) -> str:
        """The target in a form for file names."""
        device = self.device.replace(":", "")
        return f"{device}-threads{self.threads}-batch{self.batch_size}-{self._length_slug}"

    @property
    def _length_slug(self) -> str:
        if not self.lengths:
            return f"length{self.sequence_length}"
        return f"lengths{hashlib.sha256(repr(self.lengths).encode()).hexdigest()[:8]}"

    def with_lengths(self, lengths: tuple[int, ...]) -> Target:
        """Return the same device for calls of these lengths."""
        return replace(self, lengths=lengths)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Target:
        """Rebuild a target from ``to_json``, also if the tuple has become a list."""
        return cls(**{**fields, "lengths": tuple(fields["lengths"])})
