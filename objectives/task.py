"""The base class of tasks: how data is read, how examples become tensors, and how answers are scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo

from autoopt.objectives.data.rows import RawLabel, Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.inputs import Input, InputColumns, InputNames, read_inputs
from autoopt.objectives.measurement import QUALITY, Direction, Measurement
from autoopt.objectives.models.decoders import padding_note
from autoopt.objectives.models.model_folder import ModelFolder, find_model
from autoopt.objectives.models.pretrained import Head, open_pretrained
from autoopt.objectives.scoring import bootstrap
from autoopt.objectives.tables.table import Table
from autoopt.strategies.candidate import Candidate, Example, Features, Label
from autoopt.strategies.errors import UsageError, did_you_mean
from autoopt.strategies.networks.pooling import pooling_edits

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data.text_data import TextData
    from autoopt.objectives.scoring.bootstrap import Statistic

IMBALANCE = 2.0
"""Size of the largest class over that of the smallest from which classes are called imbalanced."""


@dataclass(frozen=True)
class Task(ABC):
    """A kind of problem. A subclass is a frozen dataclass, the only task in ``tasks/<name>/task.py``.

    A field annotated with pydantic's ``Field`` is a setting: an experiment may give it under ``task``.
    """

    metrics: ClassVar[tuple[str, ...]]
    """Names of all scores, of which ``statistics`` has those that fit the data."""
    head: ClassVar[Head]
    """Head of the task's models, with the body that it stands on."""
    sample: ClassVar[tuple[Mapping[str, Any], ...]]
    """At least six rows of a data set for this task, by column name, with three or more of each class."""
    input_names: ClassVar[InputNames] = InputNames()
    """Usual names of the columns from which ``predict`` is given its texts."""
    shown_with_quality: ClassVar[tuple[str, ...]] = ()
    """Metrics that reports show beside the quality, such as the perplexity from which it is computed."""
    writes: ClassVar[bool] = False
    """Whether its models write text token by token, so that the time of a token is a cost."""

    labels: tuple[str, ...] = ()
    """Names of the classes; a class in an example's label is an index into them."""
    max_length: int = 128
    """Maximum length in tokens, of a text or of a window on it."""
    metric: str = ""
    """Score that counts as quality; empty for the first of ``statistics``."""

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
    def problem_type(self) -> str | None:
        """``config.problem_type`` of a Hugging Face model with this head."""
        return None

    # Data

    @classmethod
    @abstractmethod
    def read(
        cls, table: Table, settings: DataSettings, *, metric: str | None, train_rows: Sequence[Row] = ()
    ) -> Reading:
        """Return the rows of a table. Raises ``DataError`` with place and remedy for a row that is not an example.

        Whether labels are numbers or names may depend on ``metric``, as the experiment gives it, and on ``train_rows``,
        the rows of the training data if this is other data.
        """

    @classmethod
    def label_names(cls, rows: Sequence[Row], *, source: str) -> tuple[str, ...]:  # noqa: ARG003
        """Return the classes that occur, in order; empty if the task has none. Raises ``DataError``."""
        return ()

    @classmethod
    def is_running_text(cls, rows: Sequence[Row]) -> bool:  # noqa: ARG003
        """Return whether a row continues in the next; then no row is left out, and splits are consecutive rows."""
        return False

    @classmethod
    def encode_label(cls, label: RawLabel, numbers: Mapping[str, int]) -> Label:
        """Return a row's label with classes as numbers. Raises ``KeyError`` with a class that is not in ``numbers``."""
        if isinstance(label, str):
            return numbers[label]
        if isinstance(label, tuple):
            return tuple(numbers[part] if isinstance(part, str) else part for part in label)  # type: ignore[return-value]
        return label

    @classmethod
    def facts(cls, examples: Sequence[Example]) -> frozenset[str]:
        """Return what training examples are, in the words of ``Strategy.needs``.

        By default they have ``labels``, the words of a ``text`` may be edited, each has one class if the first has
        (``classes``), and none has a second text if the first has none (``single``).
        """
        return frozenset({"labels", "text"}) | label_facts(examples)

    @classmethod
    def of_data(cls, data: TextData, *, max_length: int, metric: str | None) -> Self:
        """Return the task that this data poses. Raises ``UsageError`` if the metric does not fit the data."""
        return cls(labels=data.labels, max_length=max_length, metric=metric or "")

    @classmethod
    def settings(cls) -> type[BaseModel]:
        """Return the fields that an experiment may set, with their types, limits and defaults, as a pydantic model."""
        hints = get_type_hints(cls, include_extras=True)
        settings: dict[str, Any] = {
            field.name: (hints[field.name], field.default)
            for field in fields(cls)
            if any(isinstance(note, FieldInfo) for note in getattr(hints[field.name], "__metadata__", ()))
        }
        config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
        return create_model(f"{cls.__name__}Settings", __config__=config, **settings)

    @classmethod
    def sample_input(cls) -> dict[str, str]:
        """Return an input of ``predict`` by name: ``text``, and ``text_pair`` if the task reads two."""
        columns = tuple(cls.sample[0])
        cells = [[row[column] for column in columns] for row in cls.sample]
        table = Table("sample", columns, cells, [f"sample: row {number + 1}" for number in range(len(cells))])
        first = cls.read(table, DataSettings(source=table.source), metric=None).rows[0]
        return {"text": first.text} if first.text_pair is None else {"text": first.text, "text_pair": first.text_pair}

    @classmethod
    def inputs(cls, table: Table, columns: InputColumns) -> list[Input]:
        """Return what ``predict`` takes for each row. Raises ``DataError`` with the place of a row without a text."""
        return read_inputs(table, columns)

    # What a person is told of the data

    def describe_answers(self, examples: Sequence[Example]) -> str:  # noqa: ARG002
        """Return what a model has to answer, such as ``one of 5 classes``."""
        return "labels"

    def class_counts(self, examples: Sequence[Example]) -> Counter[str]:
        """Return how many examples each class has; by default each class of a label counts."""
        labels = (example.label if isinstance(example.label, tuple) else (example.label,) for example in examples)
        return Counter(self.labels[number] for label in labels for number in label if isinstance(number, int))

    def constant_answers(
        self,
        train: Sequence[Example],  # noqa: ARG002
        examples: Sequence[Example],  # noqa: ARG002
    ) -> list[Any] | None:
        """Return the answers to ``examples`` of a model that always gives the commonest of the training data.

        They have the form that ``outcomes`` takes; None if the task has no such answer.
        """
        return None

    def bag_of_words_answers(
        self,
        train: Sequence[Example],  # noqa: ARG002
        examples: Sequence[Example],  # noqa: ARG002
    ) -> list[Any] | None:
        """Return the answers to ``examples`` of a linear model of the training data's words.

        They have the form that ``outcomes`` takes; None if the task is not to give one class to a text.
        """
        return None

    # Saving

    def to_json(self) -> dict[str, Any]:
        """Return everything needed to rebuild the task, with its ``name``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"name": self.name, **{key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the task. Inverse of ``to_json``."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "name"}
        return cls(**fields)

    # Models

    @abstractmethod
    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Tokenize to at most ``max_length`` tokens, unpadded, with the answers of examples that have labels.

        An example without ``text_pair`` is encoded as the text alone, whatever the task.
        """

    def open_model(self, model: str, *, data: TextData | None = None, seed: int = 0) -> Candidate:
        """Open a folder, ``package://name/path`` or a name on the Hub, from safetensors only.

        A head for exactly these classes is kept; otherwise one is initialized from ``seed``, with the model's own
        pooling. ``data`` gives the candidate its training examples and unlabeled texts. Raises ``ModelError``.
        """
        folder = find_model(model, body=self.head.body, auto_class=self.head.auto_class, task=self.name)
        network, tokenizer = open_pretrained(
            folder,
            head=self.head,
            labels=self.labels,
            problem_type=self.problem_type,
            max_length=self.max_length,
            seed=seed,
        )
        return Candidate(
            model=network,
            tokenizer=tokenizer,
            task=self.for_model(folder),
            train=data.train if data else (),
            unlabeled=data.unlabeled if data else (),
            reserve=data.reserve if data else (),
            edits=pooling_edits(network),
            history=(f"opened {model}", *padding_note(tokenizer)),
        )

    def for_model(self, folder: ModelFolder) -> Self:  # noqa: ARG002
        """Return the task with what depends on the model, such as a prompt before every text; by default unchanged."""
        return self

    def tune(self, candidate: Candidate, examples: Sequence[Example]) -> Candidate:  # noqa: ARG002
        """Choose on validation examples what is decided after training, such as a threshold; by default nothing."""
        return candidate

    @abstractmethod
    def answer(self, candidate: Candidate, examples: Sequence[Example]) -> list[Any]:
        """Return the model's answer to each example, in the form that ``outcomes`` takes; labels are ignored.

        Raises ``Diverged`` if the model's output is not finite.
        """

    @abstractmethod
    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Return the answers to texts, or pairs of texts, as plain data with a ``label`` and a ``score`` each."""

    # Scores

    @property
    @abstractmethod
    def statistics(self) -> Mapping[str, Statistic]:
        """Metrics that fit this data, the default first, each a function of rows of ``outcomes``."""

    @property
    def quality(self) -> Statistic:
        """The statistic that a search maximizes."""
        return self.statistics[self.metric or next(iter(self.statistics))]

    @abstractmethod
    def outcomes(self, examples: Sequence[Example], answers: Sequence[Any]) -> NDArray[Any]:
        """Return a row of numbers for each example, from which every metric of a sample of rows can be computed."""

    def score(self, candidate: Candidate, examples: Sequence[Example]) -> dict[str, Measurement]:
        """Return ``quality`` and the task's metrics with 95 % bootstrap intervals over the examples.

        Raises ``Diverged`` if the model's output is not finite.
        """
        if not examples:
            raise ValueError("a score needs at least one example")
        return self.judge(self.outcomes(examples, self.answer(candidate, examples)))

    def judge(self, outcomes: NDArray[Any]) -> dict[str, Measurement]:
        """Return ``quality`` and the task's metrics of outcomes."""
        measurements = {}
        for name, statistic in {QUALITY: self.quality, **self.statistics}.items():
            low, high = bootstrap.bootstrap_interval(outcomes, statistic=statistic, seed=0)
            measurements[name] = Measurement(
                name=name,
                value=bootstrap.estimate(outcomes, statistic=statistic),
                unit=self.unit(name),
                direction=self.direction(name),
                low=low,
                high=high,
                samples=len(outcomes),
            )
        return measurements

    def unit(self, metric: str) -> str:  # noqa: ARG002
        """Return the unit of a metric; empty for a share or a plain number."""
        return ""

    def direction(self, metric: str) -> Direction:  # noqa: ARG002
        """Return whether a metric is better higher or lower."""
        return Direction.MAXIMIZE


def label_facts(examples: Sequence[Example]) -> frozenset[str]:
    """Return which of these hold: ``classes``, ``imbalanced``, ``single``.

    ``classes``: the first example has a single class. ``imbalanced``: the largest class then has at least ``IMBALANCE``
    times as many examples as the smallest. ``single``: the first example has no second text.
    """
    if not examples:
        return frozenset()
    has_classes = isinstance(examples[0].label, int)
    counts = Counter(example.label for example in examples) if has_classes else {}
    facts = {
        "classes": has_classes,
        "imbalanced": has_classes and max(counts.values()) >= IMBALANCE * min(counts.values()),
        "single": examples[0].text_pair is None,
    }
    return frozenset(name for name, holds in facts.items() if holds)
