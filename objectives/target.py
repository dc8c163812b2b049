"""The device on which the model will serve, and the shape of the inputs on which it is timed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, TypeAlias

Batch: TypeAlias = tuple[str | tuple[str, str], ...]
"""What one call answers: texts, or pairs of texts."""
Texts: TypeAlias = tuple[tuple[Batch, ...], ...]
"""For each length several batches, which are answered in turn."""

MAX_DECODED = 8
"""Number of tokens that one timed call writes; the time of a token grows linearly with those before it."""


class Calls(StrEnum):
    """What one timed call is."""

    BATCH = "batch"
    """The answer to a batch of texts, from the texts on. A forward pass over tokens if the target has no texts."""
    SINGLE = "single"
    """The same for one text."""
    FORWARD = "forward"
    """A forward pass over the tokens of a batch."""
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
    texts: Texts = field(default=(), repr=False)
    """Texts of each length that are answered; never written to a file. See ``timing/texts.py``."""

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
        of_texts = f"-texts{_digest(self.texts)}" if self.texts else ""
        if not self.lengths:
            return f"length{self.sequence_length}{of_texts}"
        return f"lengths{_digest(self.lengths)}{of_texts}"

    def with_lengths(self, lengths: tuple[int, ...]) -> Target:
        """Return the same device for calls of these lengths."""
        return replace(self, lengths=lengths)

    def to_json(self) -> dict[str, Any]:
        """Return all but the texts."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "texts"}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Target:
        """Rebuild a target from ``to_json``, also if the tuple has become a list."""
        calls = Calls(fields.get("calls", Calls.BATCH))
        return cls(**{**fields, "lengths": tuple(fields["lengths"]), "calls": calls})


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]
