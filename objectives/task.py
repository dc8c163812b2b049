"""What a task is: how its examples become tensors, and how good a model is at it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from autoopt.strategies.candidate import Candidate, Example, Features

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data import TextData
    from autoopt.objectives.measurement import Measurement


class Task(ABC):
    """One kind of problem. A subclass is a frozen dataclass; the name of its file is the name of the task."""

    metrics: ClassVar[tuple[str, ...]]
    """The scores of which one is the quality."""

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    @classmethod
    @abstractmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Inverse of ``to_json``."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Everything needed to rebuild the task beside a saved model, ``name`` among it."""

    @abstractmethod
    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Tokenize, truncated to the task's length and not padded."""

    @abstractmethod
    def open_model(self, model: str, *, data: TextData | None = None, seed: int = 0) -> Candidate:
        """Return the pretrained model with a head for this task, its weights drawn from ``seed``."""

    @abstractmethod
    def score(self, candidate: Candidate, examples: Sequence[Example]) -> dict[str, Measurement]:
        """Return ``quality`` and the task's other scores of the candidate, with intervals."""
