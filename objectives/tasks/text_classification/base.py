"""One answer for a whole text, or for a pair of texts: a class, several classes, or a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, assert_never

from autoopt.objectives.data.rows import Row
from autoopt.objectives.judging import scores
from autoopt.objectives.models.pretrained import Head
from autoopt.objectives.task import Task
from autoopt.objectives.tasks.text_classification.reading import class_names
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.errors import Diverged, UsageError, did_you_mean
from autoopt.strategies.training.batches import forward

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data.text_data import TextData
    from autoopt.objectives.judging.bootstrap import Statistic


class Problem(StrEnum):
    """What the answer is, in the words of Hugging Face's ``config.problem_type``."""

    CLASS = "single_label_classification"
    CLASSES = "multi_label_classification"
    NUMBER = "regression"


STATISTICS: Mapping[Problem, Mapping[str, Statistic]] = MappingProxyType(
    {
        Problem.CLASS: {
            "accuracy": scores.accuracy,
            "macro_f1": scores.macro_f1,
            "micro_f1": scores.accuracy,  # The same thing where each text has one class.
            "mcc": scores.matthews,
        },
        Problem.CLASSES: {
            "micro_f1": scores.multi_label_micro_f1,
            "macro_f1": scores.multi_label_macro_f1,
            "accuracy": scores.subset_accuracy,
        },
        Problem.NUMBER: {"pearson": scores.pearson, "spearman": scores.spearman},
    }
)
"""The metrics of each problem, the default one first."""
THRESHOLD = 0.5
"""Of several classes, those with at least this probability are the answer."""


@dataclass(frozen=True)
class TextLabels(Task):
    """What text classification and sentence pairs have in common."""

    head = Head.TEXT

    kind: Problem = Problem.CLASS

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Problem(self.kind))
        least = {Problem.CLASS: 2, Problem.CLASSES: 1, Problem.NUMBER: 0}[self.kind]
        if len(self.labels) < least or len(set(self.labels)) < len(self.labels):
            raise UsageError(
                f"{self.name} needs at least {_NUMBERS[least]} different classes, it was given {list(self.labels)}"
            )
        super().__post_init__()

    @property
    def problem(self) -> str:
        return self.kind.value

    @property
    def statistics(self) -> Mapping[str, Statistic]:
        found = STATISTICS[self.kind]
        is_binary = self.kind is Problem.CLASS and len(self.labels) == 2
        return {**found, "f1": scores.positive_f1} if is_binary else found

    @classmethod
    def label_names(cls, rows: Sequence[Row], *, source: str) -> tuple[str, ...]:
        return class_names(rows, source=source)

    @classmethod
    def of_data(cls, data: TextData, *, max_length: int, metric: str | None) -> Self:
        kind = _kind(data.train[0])
        task = cls(labels=data.labels, max_length=max_length, kind=kind)
        if metric and metric not in task.statistics:
            raise UsageError(
                f"task.metric: '{metric}' does not fit these labels, which are {_WHAT[kind]}"
                f"{did_you_mean(metric, task.statistics)}; choose {' or '.join(task.statistics)}, or another column "
                "with data.label"
            )
        return cls(labels=data.labels, max_length=max_length, metric=metric or "", kind=kind)

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Tokenize, truncated to ``max_length`` and not padded; no ``labels`` where an example has none."""
        if not examples:
            return []
        pairs = [example.text_pair for example in examples]
        if None in pairs and any(pairs):
            raise UsageError("some of these are single texts and some are pairs; give one kind")
        encoded = tokenizer(
            [example.text for example in examples],
            text_pair=None if None in pairs else pairs,
            truncation=True,
            max_length=self.max_length,
        )
        features = [{name: values[i] for name, values in encoded.items()} for i in range(len(examples))]
        return [
            item if example.label is None else {**item, "labels": self._target(example.label)}
            for item, example in zip(features, examples, strict=True)
        ]

    def answer(self, candidate: Candidate, examples: Sequence[Example]) -> list[Any]:
        """A class, a tuple of classes or a number for each example."""
        logits = self._logits(candidate, examples)
        match self.kind:
            case Problem.CLASS:
                return logits.argmax(axis=1).tolist()  # type: ignore[no-any-return]
            case Problem.CLASSES:
                return [tuple(row.nonzero()[0].tolist()) for row in logits >= 0]  # A chance of THRESHOLD or more.
            case Problem.NUMBER:
                return logits[:, 0].tolist()  # type: ignore[no-any-return]
            case _:
                assert_never(self.kind)

    def outcomes(self, examples: Sequence[Example], answers: Sequence[Any]) -> NDArray[Any]:
        """(examples, 2): truth and prediction; of several classes (examples, 2 x classes), each 0 or 1."""
        import numpy as np

        truths: list[Any] = [example.label for example in examples]
        if self.kind is not Problem.CLASSES:
            kind = np.int64 if self.kind is Problem.CLASS else np.float64
            return np.column_stack([truths, answers]).astype(kind)
        rows = np.zeros((len(examples), 2, len(self.labels)), dtype=np.int64)
        for row, pair in zip(rows, zip(truths, answers, strict=True), strict=True):
            for side, classes in zip(row, pair, strict=True):
                side[list(classes)] = 1
        return rows.reshape(len(examples), -1)

    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Return for each text, or pair, its ``label``, its ``score``, and the ``scores`` of all classes.

        Of several classes ``label`` names all that apply, joined by commas, and ``score`` is the least of theirs; where
        the answer is a number, ``label`` is that number as text, and ``score`` the number.
        """
        if not texts:
            return []
        examples = [Example(text) if isinstance(text, str) else Example(text[0], text_pair=text[1]) for text in texts]
        logits = self._logits(candidate, examples)
        match self.kind:
            case Problem.CLASS:
                return [self._class(row) for row in _softmax(logits).tolist()]
            case Problem.CLASSES:
                return [self._classes(row) for row in _sigmoid(logits).tolist()]
            case Problem.NUMBER:
                return [{"label": f"{value:.4g}", "score": value, "scores": {}} for value in logits[:, 0].tolist()]
            case _:
                assert_never(self.kind)

    def _target(self, label: Any) -> Any:
        match self.kind:
            case Problem.CLASS:
                return label
            case Problem.CLASSES:
                return [float(number in label) for number in range(len(self.labels))]
            case Problem.NUMBER:
                return float(label)
            case _:
                assert_never(self.kind)

    def _class(self, chances: list[float]) -> dict[str, Any]:
        best = max(range(len(chances)), key=chances.__getitem__)
        scores = dict(zip(self.labels, chances, strict=True))
        return {"label": self.labels[best], "score": chances[best], "scores": scores}

    def _classes(self, chances: list[float]) -> dict[str, Any]:
        scores = dict(zip(self.labels, chances, strict=True))
        chosen = {name: chance for name, chance in scores.items() if chance >= THRESHOLD}
        return {"label": ", ".join(chosen), "score": min((chosen or scores).values()), "scores": scores}

    def _logits(self, candidate: Candidate, examples: Sequence[Example]) -> NDArray[Any]:
        """Shape (examples, classes), or (examples, 1) for a number, in the order of the examples."""
        import numpy as np

        logits = np.empty((len(examples), max(1, len(self.labels))), dtype=np.float64)
        features = replace(candidate, task=self).encode(examples)
        for positions, _, output in forward(candidate.model, features, pad_token_id=candidate.tokenizer.pad_token_id):
            logits[positions] = output.logits.float().cpu().numpy()
        if not np.isfinite(logits).all():
            raise Diverged("the model's output is not finite; a lower learning rate may help")
        return logits


_NUMBERS = ("no", "one", "two")
_WHAT: Mapping[Problem, str] = MappingProxyType(
    {Problem.CLASS: "classes", Problem.CLASSES: "several classes for each text", Problem.NUMBER: "numbers"}
)


def _kind(example: Example) -> Problem:
    match example.label:
        case float():
            return Problem.NUMBER
        case tuple():
            return Problem.CLASSES
        case _:
            return Problem.CLASS


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def _sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return 0.5 * (1 + np.tanh(logits / 2))
