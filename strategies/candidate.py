"""What flows through a trial: a model with its tokenizer, its training data and its history."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Features: TypeAlias = dict[str, Any]
"""One tokenized example: ``input_ids`` (a list of ints), whatever else the tokenizer gives, and ``labels``."""


@dataclass(frozen=True)
class Example:
    """One labelled example as a person would read it."""

    text: str
    label: int
    text_pair: str | None = None


class TaskView(Protocol):
    """What a strategy may know of the task: how its examples become tensors."""

    @property
    def name(self) -> str: ...

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Tokenize, truncated to the task's length and not padded; ``labels`` where the examples have them."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Everything needed to rebuild the task beside a saved model."""
        ...


@dataclass(frozen=True)
class Candidate:
    """A model on its way through a recipe. Frozen: a strategy returns another one by ``evolve``."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    task: TaskView
    train: tuple[Example, ...] = ()
    unlabeled: tuple[str, ...] = ()
    edits: tuple[Mapping[str, Any], ...] = ()
    """Changes to the architecture that the configuration cannot express, in order; replayed on load."""
    history: tuple[str, ...] = ()
    """What was done, a line for each stage, for people to read."""
    teacher: PreTrainedModel | None = None
    """The trained trunk, for strategies that distil from it."""

    def evolve(self, event: str, **changes: Any) -> Candidate:
        """Return the candidate with ``changes`` made and ``event`` added to its history."""
        return replace(self, history=(*self.history, event), **changes)

    def copy_model(self) -> PreTrainedModel:
        """Return a deep copy of the model, free to be changed in place."""
        return copy.deepcopy(self.model)

    def features(self) -> list[Features]:
        """The training examples, tokenized."""
        return self.task.encode(self.train, self.tokenizer)
