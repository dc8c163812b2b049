"""The device on which the model will serve, and the shape of the inputs on which it is timed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

MAX_DECODED = 8
"""Number of tokens that one timed call writes; the time of a token grows linearly with those before it."""


class Calls(StrEnum):
    """What one timed call is."""

    BATCH = "batch"
    """A forward pass over a batch of whole texts."""
    SINGLE = "single"
    """The same for one text."""
    PREFILL = "prefill"
    """A pass over the prompts, up to the first token of each answer."""
    DECODE = "decode"
    """Some tokens in the middle of the answers, one after the other, with the states of all before them cached."""

    @property
    def writes(self) -> bool:
        """Whether only a model that writes text makes such calls."""
        return self in (Calls.PREFILL, Calls.DECODE)


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
    calls: Calls = Calls.BATCH
    """With ``PREFILL`` and ``DECODE`` the sequence is the prompt. A single text is a batch of one."""
    output: int = 0
    """Tokens that follow each prompt."""

    @property
    def is_cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def call_lengths(self) -> tuple[int, ...]:
        """Lengths of the timed calls, in tokens."""
        return self.lengths or (self.sequence_length,)

    @property
    def cached_length(self) -> int:
        """Tokens before those that a decoding call writes: the prompt and the first half of the answer."""
        return self.sequence_length + max(0, self.output - self.decoded) // 2

    @property
    def decoded(self) -> int:
        """Tokens of each answer that a decoding call writes."""
        return min(MAX_DECODED, self.output)

    @property
    def slug(self) -> str:
        """The target in a form for file names."""
        device = self.device.replace(":", "")
        return f"{device}-threads{self.threads}-batch{self.batch_size}-{self._length_slug}"

    @property
    def _length_slug(self) -> str:
        if self.calls is Calls.DECODE:
            return f"prompt{self.sequence_length}-output{self.output}"
        if self.calls is Calls.PREFILL:
            return f"prompt{self.sequence_length}"
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
        calls = Calls(fields.get("calls", Calls.BATCH))
        return cls(**{**fields, "lengths": tuple(fields["lengths"]), "calls": calls})
