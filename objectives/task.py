"""What a task is: how its data is read, how examples become tensors, and how good a model's answers are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from autoopt.objectives.data.rows import RawLabel, Reading, Row
from autoopt.objectives.judging import bootstrap
from autoopt.objectives.measurement import QUALITY, Direction, Measurement
from autoopt.objectives.models.pretrained import Head, open_pretrained
from autoopt.strategies.candidate import Candidate, Example, Features, Label
from autoopt.strategies.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data.settings import DataSettings
    from autoopt.objectives.data.text_data import TextData
    from autoopt.objectives.file_formats.table import Table
    from autoopt.objectives.judging.bootstrap import Statistic


@dataclass(frozen=True)
class Task(ABC):
    """One kind of problem. A subclass is a frozen dataclass in tasks/<name>/task.py."""

    metrics: ClassVar[tuple[str, ...]]
    """The scores that it knows, one of which is the quality."""
    head: ClassVar[Head]
    """What stands on top of the model."""
    facts: ClassVar[frozenset[str]] = frozenset({"labels", "text"})
    """What its examples are, in the words in which strategies say what they need. ``text``: words may be edited."""
    sample: ClassVar[Mapping[str, str]] = MappingProxyType({"text": "Chelsea won the cup"})
    """An input as a model for this task is given it: ``text``, and ``text_pair`` where it reads two."""

    settings: ClassVar[frozenset[str]] = frozenset()
    """Fields that an experiment may set, beside the metric; whole numbers from 1 on."""

    labels: tuple[str, ...] = ()
    """The names of the classes; a class in an example's label is a place in it."""
    max_length: int = 128
    """In tokens: where a text is cut, or how long a window on it is."""
    metric: str = ""
    """The score that counts as quality; the first that fits where it is empty."""

    def __post_init__(self) -> None:
        if self.metric and self.metric not in self.statistics:
            raise UsageError(
                f"'{self.metric}' is no metric of {self.name}{did_you_mean(self.metric, self.statistics)}; "
                f"choose {' or '.join(self.statistics)}"
            )

    @property
    def name(self) -> str:
        return type(self).__module__.split(".")[-2]  # The folder: tasks.<name>.task

    @property
    def problem(self) -> str | None:
        """``config.problem_type`` of a Hugging Face model with this head."""
        return None

    # How its data is read

    @classmethod
    @abstractmethod
    def read(cls, table: Table, settings: DataSettings, *, metric: str | None, like: Sequence[Row] = ()) -> Reading:
        """Return the rows of a table. Raises ``DataError`` with place and remedy for what is no example of the task.

        Whether labels are numbers or names may depend on ``metric``, the one that was asked for, and on ``like``, the
        rows of the training data where this is other data.
        """

    @classmethod
    def label_names(cls, rows: Sequence[Row], *, source: str) -> tuple[str, ...]:  # noqa: ARG003
        """The classes that occur, in order; none where the task has no classes."""
        return ()

    @classmethod
    def in_order(cls, rows: Sequence[Row]) -> bool:  # noqa: ARG003
        """True where a row goes on in the next one: then none is left out, and a split is a stretch of them."""
        return False

    @classmethod
    def number(cls, label: RawLabel, numbers: Mapping[str, int]) -> Label:
        """A row's label as an example has it. Raises ``KeyError`` with the class that is not in ``numbers``."""
        if isinstance(label, str):
            return numbers[label]
        if isinstance(label, tuple):
            return tuple(numbers[part] if isinstance(part, str) else part for part in label)  # type: ignore[return-value]
        return label

    @classmethod
    def of_data(cls, data: TextData, *, max_length: int, metric: str | None) -> Self:
        """The task that this data poses. Raises ``UsageError`` where the metric is none of it."""
        return cls(labels=data.labels, max_length=max_length, metric=metric or "")

    # How it is saved beside a model

    def to_json(self) -> dict[str, Any]:
        """Everything needed to rebuild the task, ``name`` among it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"name": self.name, **{key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """Inverse of ``to_json``."""
        values: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in given.items() if key != "name"
        }
        return cls(**values)

    # How a model works at it

    @abstractmethod
    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Tokenize, cut to the task's length and not padded; the answers where the examples have labels.

        An example without ``text_pair`` is taken too, as the text alone, whatever the task.
        """

    def open_model(self, model: str, *, data: TextData | None = None, seed: int = 0) -> Candidate:
        """Open a folder, ``package://name/path`` or a Hub name, from safetensors only.

        The head is kept where the model has one for exactly these classes; else it is drawn from ``seed``. ``data``
        gives the candidate its training examples and unlabeled texts. Raises ``ModelError``.
        """
        from autoopt.objectives.models.model_folder import find_model

        network, tokenizer = open_pretrained(
            find_model(model, body=self.head.body, task=self.name),
            head=self.head,
            labels=self.labels,
            problem=self.problem,
            max_length=self.max_length,
            seed=seed,
        )
        return Candidate(
            model=network,
            tokenizer=tokenizer,
            task=self,
            train=data.train if data else (),
            unlabeled=data.unlabeled if data else (),
            history=(f"opened {model}",),
        )

    def tune(self, candidate: Candidate, examples: Sequence[Example]) -> Candidate:  # noqa: ARG002
        """Choose on validation examples what is decided after training, such as a threshold; by default nothing."""
        return candidate

    @abstractmethod
    def answer(self, candidate: Candidate, examples: Sequence[Example]) -> list[Any]:
        """The model's answer to each example, of the kind of the example's label; labels are not looked at.

        Raises ``Diverged`` where the model's output is not finite.
        """

    @abstractmethod
    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Answer texts, or pairs of texts, as plain data; each answer has a ``label`` and a ``score``."""

    # How good its answers are

    @property
    @abstractmethod
    def statistics(self) -> Mapping[str, Statistic]:
        """The metrics that fit this data, the default one first, each over rows of ``outcomes``."""

    @property
    def quality(self) -> Statistic:
        """What is maximized."""
        return self.statistics[self.metric or next(iter(self.statistics))]

    @abstractmethod
    def outcomes(self, examples: Sequence[Example], answers: Sequence[Any]) -> NDArray[Any]:
        """A row of numbers for each example, from which every metric of any selection of examples can be computed."""

    def score(self, candidate: Candidate, examples: Sequence[Example]) -> dict[str, Measurement]:
        """Return ``quality`` and the task's metrics with 95 % bootstrap intervals over the examples.

        Raises ``Diverged`` where the model's output is not finite.
        """
        if not examples:
            raise ValueError("a score needs at least one example")
        return self.judge(self.outcomes(examples, self.answer(candidate, examples)))

    def judge(self, outcomes: NDArray[Any]) -> dict[str, Measurement]:
        """``quality`` and the task's metrics of outcomes."""
        found = {}
        for name, statistic in {QUALITY: self.quality, **self.statistics}.items():
            low, high = bootstrap.bootstrap_interval(outcomes, statistic=statistic, seed=0)
            found[name] = Measurement(
                name=name,
                value=bootstrap.of_all(outcomes, statistic=statistic),
                unit=self.unit(name),
                direction=self.direction(name),
                low=low,
                high=high,
                samples=len(outcomes),
            )
        return found

    def unit(self, metric: str) -> str:  # noqa: ARG002
        """What a metric is counted in; nothing where it is a share or a plain number."""
        return ""

    def direction(self, metric: str) -> Direction:  # noqa: ARG002
        """Which way a metric is better."""
        return Direction.MAXIMIZE
