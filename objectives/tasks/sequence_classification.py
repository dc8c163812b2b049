"""One answer for a whole text, or for a pair of texts: a class, several classes, or a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, assert_never

from autoopt.objectives.data.labelled import class_names
from autoopt.objectives.data.rows import Row
from autoopt.objectives.models.model_folder import ModelFolder
from autoopt.objectives.models.pretrained import Head
from autoopt.objectives.models.sentence_modules import prompt_of
from autoopt.objectives.scoring import bag_of_words, scores
from autoopt.objectives.task import Task
from autoopt.objectives.tasks.outputs import check_finite, softmax
from autoopt.objectives.tasks.pairs import separator
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.errors import UsageError, did_you_mean
from autoopt.strategies.stand_ins.contract import reads_texts, text_logits
from autoopt.strategies.texts.beginnings import tokenize
from autoopt.strategies.training.batches import forward

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data.text_data import TextData
    from autoopt.objectives.scoring.bootstrap import Statistic


class Problem(StrEnum):
    """What an answer is; the values are those of Hugging Face's ``config.problem_type``."""

    CLASS = "single_label_classification"
    CLASSES = "multi_label_classification"
    NUMBER = "regression"


STATISTICS: Mapping[Problem, Mapping[str, Statistic]] = MappingProxyType(
    {
        Problem.CLASS: {
            "accuracy": scores.accuracy,
            "macro_f1": scores.macro_f1,
            "micro_f1": scores.accuracy,  # They are equal if each text has one class.
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
"""Metrics of each problem, the default first."""
THRESHOLD = 0.5
"""Minimum probability of a class to be among several."""
_LABELS: Mapping[Problem, str] = MappingProxyType(
    {Problem.CLASS: "classes", Problem.CLASSES: "several classes for each text", Problem.NUMBER: "numbers"}
)
_MIN_CLASSES: Mapping[Problem, int] = MappingProxyType({Problem.CLASS: 2, Problem.CLASSES: 1, Problem.NUMBER: 0})
_NUMERALS = ("no", "one", "two")


@dataclass(frozen=True)
class SequenceClassification(Task):
    """Base class of tasks with one answer for a text or a pair of texts."""

    head = Head("AutoModelForSequenceClassification", pools=True)

    kind: Problem = Problem.CLASS
    prompt: str = ""
    """Text before every single text, with which the model was trained; pairs have none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Problem(self.kind))
        minimum = _MIN_CLASSES[self.kind]
        if len(self.labels) < minimum or len(set(self.labels)) < len(self.labels):
            raise UsageError(
                f"{self.name} needs at least {_NUMERALS[minimum]} different classes, it was given {list(self.labels)}"
            )
        super().__post_init__()

    def to_json(self) -> dict[str, Any]:
        """Return everything needed to rebuild the task; without a prompt what earlier versions returned."""
        values = super().to_json()
        return values if self.prompt else {key: value for key, value in values.items() if key != "prompt"}

    def for_model(self, folder: ModelFolder) -> Self:
        """Return the task with the model's prompt."""
        return replace(self, prompt=prompt_of(folder.path))

    @property
    def problem_type(self) -> str:
        return self.kind.value

    @property
    def statistics(self) -> Mapping[str, Statistic]:
        statistics = STATISTICS[self.kind]
        is_binary = self.kind is Problem.CLASS and len(self.labels) == 2
        return {**statistics, "f1": scores.positive_f1} if is_binary else statistics

    @classmethod
    def label_names(cls, rows: Sequence[Row], *, source: str) -> tuple[str, ...]:
        return class_names(rows, source=source)

    @classmethod
    def facts(cls, examples: Sequence[Example]) -> frozenset[str]:
        """Return ``whole`` too, since an answer is of the whole text."""
        return super().facts(examples) | {"whole"}

    @classmethod
    def of_data(cls, data: TextData, *, max_length: int, metric: str | None) -> Self:
        kind = _problem_of(data.train[0])
        task = cls(labels=data.labels, max_length=max_length, kind=kind)
        if metric and metric not in task.statistics:
            raise UsageError(
                f"task.metric: '{metric}' does not fit these labels, which are {_LABELS[kind]}"
                f"{did_you_mean(metric, task.statistics)}; choose {' or '.join(task.statistics)}, or another column "
                "with data.label"
            )
        return replace(task, metric=metric or "")

    def describe_answers(self, examples: Sequence[Example]) -> str:
        match self.kind:
            case Problem.CLASS:
                return f"one of {len(self.labels):,} classes"
            case Problem.CLASSES:
                return f"any number of {len(self.labels):,} classes"
            case Problem.NUMBER:
                numbers = [example.label for example in examples if isinstance(example.label, float)]
                return f"a number; the training data have {min(numbers):.4g} to {max(numbers):.4g}"
            case _:
                assert_never(self.kind)

    def constant_answers(self, train: Sequence[Example], examples: Sequence[Example]) -> list[Any]:
        if self.kind is Problem.NUMBER:
            return [0.0] * len(examples)
        (commonest, _), *_ = Counter(example.label for example in train).most_common(1)
        return [commonest] * len(examples)

    def bag_of_words_answers(self, train: Sequence[Example], examples: Sequence[Example]) -> list[Any] | None:
        classes = [example.label for example in train if isinstance(example.label, int)]
        if self.kind is not Problem.CLASS or any(example.text_pair is not None for example in train):
            return None
        return bag_of_words.predict([example.text for example in train], classes, [one.text for one in examples])

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Tokenize, truncated to ``max_length`` and unpadded, with ``labels`` for each example that has one."""
        if not examples:
            return []
        second_texts = [example.text_pair for example in examples]
        if None in second_texts and any(second_texts):
            raise UsageError("some of these are single texts and some are pairs; give one kind")
        prompt = "" if any(second_texts) else self.prompt
        between = separator(tokenizer) if any(second_texts) else ""
        texts = [prompt + example.text for example in examples]
        seconds = None if None in second_texts else [f"{between}{text}" for text in second_texts]
        features = tokenize(tokenizer, texts, self.max_length, seconds=seconds)
        return [
            item if example.label is None else {**item, "labels": self._target(example.label)}
            for item, example in zip(features, examples, strict=True)
        ]

    def answer(self, candidate: Candidate, examples: Sequence[Example]) -> list[Any]:
        """Return a class, a tuple of classes or a number for each example."""
        logits = self._logits(candidate, examples)
        match self.kind:
            case Problem.CLASS:
                return logits.argmax(axis=1).tolist()  # type: ignore[no-any-return]
            case Problem.CLASSES:
                return [tuple(row.nonzero()[0].tolist()) for row in logits >= 0]  # A probability >= THRESHOLD.
            case Problem.NUMBER:
                return logits[:, 0].tolist()  # type: ignore[no-any-return]
            case _:
                assert_never(self.kind)

    def outcomes(self, examples: Sequence[Example], answers: Sequence[Any]) -> NDArray[Any]:
        """Return truth and prediction, (examples, 2); for several classes (examples, 2 * classes), each 0 or 1."""
        import numpy as np

        truths: list[Any] = [example.label for example in examples]
        if self.kind is not Problem.CLASSES:
            dtype = np.int64 if self.kind is Problem.CLASS else np.float64
            return np.column_stack([truths, answers]).astype(dtype)
        rows = np.zeros((len(examples), 2, len(self.labels)), dtype=np.int64)
        for row, truth, answer in zip(rows, truths, answers, strict=True):
            row[0, list(truth)] = 1
            row[1, list(answer)] = 1
        return rows.reshape(len(examples), -1)

    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Return for each text, or pair, its ``label``, its ``score``, and the ``scores`` of all classes.

        Of several classes ``label`` names all that apply, joined by commas, and ``score`` is their lowest probability;
        of a number, ``label`` is the number as text and ``score`` the number.
        """
        if not texts:
            return []
        pairs = [(text, None) if isinstance(text, str) else text for text in texts]
        # Without surrounding blanks, as the texts of training are.
        examples = [Example(text.strip(), text_pair=second and second.strip()) for text, second in pairs]
        logits = self._logits(candidate, examples)
        match self.kind:
            case Problem.CLASS:
                return [self._best_class(row) for row in softmax(logits).tolist()]
            case Problem.CLASSES:
                return [self._likely_classes(row) for row in _sigmoid(logits).tolist()]
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

    def _best_class(self, probabilities: list[float]) -> dict[str, Any]:
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        by_class = dict(zip(self.labels, probabilities, strict=True))
        return {"label": self.labels[best], "score": probabilities[best], "scores": by_class}

    def _likely_classes(self, probabilities: list[float]) -> dict[str, Any]:
        by_class = dict(zip(self.labels, probabilities, strict=True))
        likely = {name: probability for name, probability in by_class.items() if probability >= THRESHOLD}
        return {"label": ", ".join(likely), "score": min((likely or by_class).values()), "scores": by_class}

    def _logits(self, candidate: Candidate, examples: Sequence[Example]) -> NDArray[Any]:
        """Return logits of shape (examples, classes), or (examples, 1) for a number, in the order of the examples."""
        import numpy as np

        if reads_texts(candidate.model):
            return check_finite(text_logits(candidate.model, examples).astype(np.float64))
        logits = np.empty((len(examples), max(1, len(self.labels))), dtype=np.float64)
        prompt = _prompt_of(candidate)
        if candidate.task is not self or prompt != self.prompt:
            candidate = replace(candidate, task=replace(self, prompt=prompt))
        features = candidate.encode(examples)
        for positions, _, output in forward(candidate.model, features, pad_token_id=candidate.tokenizer.pad_token_id):
            logits[positions] = output.logits.float().cpu().numpy()
        return check_finite(logits)


def _problem_of(example: Example) -> Problem:
    match example.label:
        case float():
            return Problem.NUMBER
        case tuple():
            return Problem.CLASSES
        case _:
            return Problem.CLASS


def _prompt_of(candidate: Candidate) -> str:
    return candidate.task.prompt if isinstance(candidate.task, SequenceClassification) else ""


def _sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return 0.5 * (1 + np.tanh(logits / 2))
