"""What flows through a trial: a model with its tokenizer, its training data and its history."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Features: TypeAlias = dict[str, Any]
"""One tokenized example: ``input_ids`` (a list of ints), whatever else the tokenizer gives, and ``ANSWERS``."""
ANSWERS = frozenset({"labels", "start_positions", "end_positions"})
"""The features that say what is right: the model computes its loss from them, and does without them."""


@dataclass(frozen=True)
class Span:
    """A piece of an example's ``text_pair``: an answer to the question in its ``text``."""

    text: str
    start: int
    """The place of its first character."""


Label: TypeAlias = int | float | tuple[int, ...] | tuple[Span, ...] | None
"""What is right. A class or several, a number, a class for each word, the answers to a question; None where unknown."""


@dataclass(frozen=True)
class Example:
    """One example as a person would read it. Where each word has a label, the words are ``text.split(" ")``."""

    text: str
    label: Label = None
    text_pair: str | None = None

    def edited(self, edit: Callable[[str], str]) -> Example:
        """The example with both its texts as ``edit`` makes them, and its label."""
        return replace(self, text=edit(self.text), text_pair=None if self.text_pair is None else edit(self.text_pair))


class TaskView(Protocol):
    """What a strategy may know of the task: how its examples become tensors."""

    @property
    def name(self) -> str: ...

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Tokenize, cut to the task's length and not padded; ``ANSWERS`` where the examples have labels.

        An example may give several features, one for each window of a long text.
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """Everything needed to rebuild the task beside a saved model."""
        ...


class Tokens(Protocol):
    """Where tokenized examples are kept, so that what was tokenized once is not tokenized again."""

    def features(
        self, task: TaskView, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
    ) -> list[Features]:
        """What ``task.encode(examples, tokenizer)`` returns, value for value."""
        ...


OtherData: TypeAlias = "Callable[[str], tuple[tuple[Example, ...], tuple[str, ...]]]"
"""Reads another labelled data set of the task's kind that a person names: its examples, the names of its classes."""

Batch: TypeAlias = "dict[str, torch.Tensor]"
"""Examples as the model is given them, ``ANSWERS`` among them."""
Criterion: TypeAlias = "Callable[[Any, Batch], torch.Tensor]"
"""The loss, a scalar, of a model's output for a batch."""


@dataclass(frozen=True)
class Objective:
    """The loss of a model on a batch."""

    forward: Callable[[Any, Batch], Any]
    """Runs the model on the batch and returns its output."""
    criterion: Criterion

    def __call__(self, model: Any, batch: Batch) -> torch.Tensor:
        return self.criterion(self.forward(model, batch), batch)


Shaper: TypeAlias = "Callable[[Objective, Any, Batch], torch.Tensor]"
"""Computes the loss of a model on a batch by asking the objective about other forms of the batch."""


def run(model: Any, batch: Batch) -> Any:
    """The model's output for the batch."""
    return model(**batch)


def own_loss(output: Any, batch: Batch) -> torch.Tensor:  # noqa: ARG001
    """The loss that a Hugging Face model computes from ``ANSWERS``."""
    return output.loss  # type: ignore[no-any-return]


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
    tokens: Tokens | None = None
    """Where tokenized examples are kept; None where they are not."""
    other_data: OtherData | None = None
    """How a strategy comes to another labelled data set; None where it does not."""
    criterion: Criterion = own_loss
    """How far answers are from what is right, for whatever learns the task from the training examples."""
    shaper: Shaper | None = None
    """What is done with each batch when the task is learned, beyond the loss on it; None for nothing."""

    def evolve(self, event: str, **changes: Any) -> Candidate:
        """Return the candidate with ``changes`` made and ``event`` added to its history."""
        return replace(self, history=(*self.history, event), **changes)

    def copy_model(self) -> PreTrainedModel:
        """Return a deep copy of the model, free to be changed in place."""
        return copy.deepcopy(self.model)

    def features(self) -> list[Features]:
        """The training examples, tokenized."""
        return self.encode(self.train)

    def encode(self, examples: Sequence[Example]) -> list[Features]:
        """What the candidate's task makes of examples with the candidate's tokenizer."""
        if self.tokens is None:
            return self.task.encode(examples, self.tokenizer)
        return self.tokens.features(self.task, self.tokenizer, examples)
