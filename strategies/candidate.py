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
"""Features from which the model computes its loss; not needed for inference."""


@dataclass(frozen=True)
class Span:
    """An answer in an example's ``text_pair`` to the question in its ``text``."""

    text: str
    start: int
    """Index of its first character."""


Label: TypeAlias = int | float | tuple[int, ...] | tuple[Span, ...] | None
"""A class, several classes, a number, a class for each word, or the answers to a question; None if unknown."""


@dataclass(frozen=True)
class Example:
    """An example as plain text. If each word has a label, the words are ``text.split(" ")``."""

    text: str
    label: Label = None
    text_pair: str | None = None

    def edited(self, edit: Callable[[str], str]) -> Example:
        """Return the example with ``edit`` applied to both texts; the label is kept."""
        return replace(self, text=edit(self.text), text_pair=None if self.text_pair is None else edit(self.text_pair))


class TaskView(Protocol):
    """The part of a task that strategies use: how examples become tensors."""

    @property
    def name(self) -> str: ...

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Tokenize and truncate to the task's length, without padding; with ``ANSWERS`` if the examples have labels.

        An example may yield several features, one for each window of a long text.
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """Return all that is needed to rebuild the task from a saved model."""
        ...


class Tokens(Protocol):
    """Cache of tokenized examples."""

    def features(
        self, task: TaskView, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
    ) -> list[Features]:
        """Return exactly what ``task.encode(examples, tokenizer)`` returns."""
        ...


class Monitor(Protocol):
    """Scores a candidate during its training, on examples that it is not trained on."""

    @property
    def size(self) -> int:
        """Number of examples."""
        ...

    def score(self, candidate: Candidate, *, limit: int) -> float:
        """Return the quality on the first ``limit`` examples; higher is better."""
        ...


OtherData: TypeAlias = "Callable[[str], tuple[tuple[Example, ...], tuple[str, ...]]]"
"""Loads another labelled data set of the task's type by name: its examples and class names."""

Batch: TypeAlias = "dict[str, torch.Tensor]"
"""Inputs of the model, with ``ANSWERS``."""
Criterion: TypeAlias = "Callable[[Any, Batch], torch.Tensor]"
"""Computes the loss, a scalar, from a model's output for a batch."""


@dataclass(frozen=True)
class Objective:
    """The loss of a model on a batch."""

    forward: Callable[[Any, Batch], Any]
    """Runs the model on the batch and returns its output."""
    criterion: Criterion

    def __call__(self, model: Any, batch: Batch) -> torch.Tensor:
        return self.criterion(self.forward(model, batch), batch)


Shaper: TypeAlias = "Callable[[Objective, Any, Batch], torch.Tensor]"
"""Computes the loss of a model on a batch by evaluating the objective on variants of the batch."""


def run(model: Any, batch: Batch) -> Any:
    """Return the model's output for the batch."""
    return model(**batch)


def own_loss(output: Any, batch: Batch) -> torch.Tensor:  # noqa: ARG001
    """Return the loss that a Hugging Face model computes from ``ANSWERS``."""
    return output.loss  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Candidate:
    """A model on its way through a recipe. Immutable: a strategy returns a new one from ``evolve``."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    task: TaskView
    train: tuple[Example, ...] = ()
    unlabeled: tuple[str, ...] = ()
    reserve: tuple[Example, ...] = ()
    """Further training examples, which a network has not the time for."""
    edits: tuple[Mapping[str, Any], ...] = ()
    """Changes to the architecture that the configuration cannot express, in order; replayed on load."""
    history: tuple[str, ...] = ()
    """A readable line for each stage."""
    teacher: PreTrainedModel | None = None
    """Trained model to learn from, for distillation: the trunk, or another one."""
    teacher_tokenizer: PreTrainedTokenizerBase | None = None
    """The teacher's tokenizer; None if it is the candidate's own."""
    tokens: Tokens | None = None
    """Cache of tokenized examples; None for no cache."""
    other_data: OtherData | None = None
    """Loader of other labelled data sets; None if unavailable."""
    criterion: Criterion = own_loss
    """Loss of strategies that learn the task from the training examples."""
    shaper: Shaper | None = None
    """Changes the loss on each batch when the task is learned; None for the plain loss."""
    monitor: Monitor | None = None
    """Decides which weights of a training are kept; None for the last ones."""

    def evolve(self, event: str, **changes: Any) -> Candidate:
        """Return a copy with ``changes`` and with ``event`` added to the history."""
        return replace(self, history=(*self.history, event), **changes)

    def copy_model(self) -> PreTrainedModel:
        """Return a deep copy of the model, which may be changed in place."""
        return copy.deepcopy(self.model)

    def features(self) -> list[Features]:
        """Return the training examples, tokenized."""
        return self.encode(self.train)

    def encode(self, examples: Sequence[Example]) -> list[Features]:
        """Tokenize examples with the candidate's task and tokenizer, from the cache if there is one."""
        if self.tokens is None:
            return self.task.encode(examples, self.tokenizer)
        return self.tokens.features(self.task, self.tokenizer, examples)
