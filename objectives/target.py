"""Where the model will serve, and on what shape of input it is timed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Target:
    """One device with its thread count and the shapes of its inputs."""

    device: str = "cpu"
    """A torch device: ``cpu``, ``cuda`` or ``cuda:1``."""
    threads: int = 1
    batch_size: int = 1
    """Examples that one call answers."""
    sequence_length: int = 128
    lengths: tuple[int, ...] = ()
    """Lengths that occur equally often, in place of ``sequence_length`` where there are any; see ``lengths.py``."""

    @property
    def is_cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def call_lengths(self) -> tuple[int, ...]:
        """The length of each call that is timed, in tokens."""
        return self.lengths or (self.sequence_length,)

    @property
    def slug(self) -> str:
        """The target as part of a file name."""
        device = self.device.replace(":", "")
        return f"{device}-threads{self.threads}-batch{self.batch_size}-{self._length_slug}"

    @property
    def _length_slug(self) -> str:
        if not self.lengths:
            return f"length{self.sequence_length}"
        return f"lengths{hashlib.sha256(repr(self.lengths).encode()).hexdigest()[:8]}"

    def of_lengths(self, lengths: tuple[int, ...]) -> Target:
        """The same device for calls of these lengths."""
        return replace(self, lengths=lengths)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Target:
        """Inverse of ``to_json``, also after the tuple has become a list."""
        return cls(**{**fields, "lengths": tuple(fields["lengths"])})
