"""Extractive question answering: the piece of a context that answers a question, or that there is none in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.models.pretrained import Head
from autoopt.objectives.task import Task
from autoopt.objectives.tasks.question_answering import scoring
from autoopt.objectives.tasks.question_answering.reading import read_answered
from autoopt.objectives.tasks.question_answering.spans import Answer, best_answers
from autoopt.objectives.tasks.question_answering.windows import QUESTION_SHARE, windows
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data.settings import DataSettings
    from autoopt.objectives.data.text_data import TextData
    from autoopt.objectives.file_formats.table import Table
    from autoopt.objectives.judging.bootstrap import Statistic

MIN_LENGTH = 8
"""In tokens: what a window needs for some words of the question and of the context."""
OF_ANY_DATA: Mapping[str, Statistic] = MappingProxyType({"f1": scoring.f1, "exact_match": scoring.exact_match})
WITH_UNANSWERABLE: Mapping[str, Statistic] = MappingProxyType(
    {"has_answer_f1": scoring.has_answer_f1, "no_answer_accuracy": scoring.no_answer_accuracy}
)


@dataclass(frozen=True)
class QuestionAnswering(Task):
    """An example is a question with its context; its label is the answers, none where the context has no answer."""

    metrics = (*OF_ANY_DATA, *WITH_UNANSWERABLE)
    head = Head.SPAN
    sample = MappingProxyType(
        {"text": "Who won the cup?", "text_pair": "Chelsea won the cup in the last minute of the match."}
    )
    # Not "text": an edit of a context would move its answers.
    facts = frozenset({"labels", "spans"})
    settings = frozenset({"stride", "max_answer_tokens"})

    unanswerable: bool = False
    """True where some questions have no answer in their context."""
    null_threshold: float = 0.0
    """In logits: where no answer is likelier than the best piece by more than this, there is no answer."""
    stride: int | None = None
    """In tokens: what two windows on one context share; a third of ``max_length`` where it is None."""
    max_answer_tokens: int = 30

    def __post_init__(self) -> None:
        if self.max_length < MIN_LENGTH:
            raise UsageError(
                f"{self.name} reads a question and a piece of its context at once, and data.max_length is "
                f"{self.max_length} tokens; raise it to {MIN_LENGTH} at least"
            )
        super().__post_init__()

    @classmethod
    def read(
        cls,
        table: Table,
        settings: DataSettings,
        *,
        metric: str | None,  # noqa: ARG003
        like: Sequence[Row] = (),  # noqa: ARG003
    ) -> Reading:
        return read_answered(table, settings)

    @classmethod
    def of_data(cls, data: TextData, *, max_length: int, metric: str | None) -> Self:
        unanswerable = any(example.label == () for example in (*data.train, *data.validation))
        if metric in WITH_UNANSWERABLE and not unanswerable:
            raise UsageError(
                f"task.metric: '{metric}' is of questions without an answer, and the data has none; choose "
                f"{' or '.join(OF_ANY_DATA)}"
            )
        return cls(max_length=max_length, metric=metric or "", unanswerable=unanswerable)

    @property
    def statistics(self) -> Mapping[str, Statistic]:
        return {**OF_ANY_DATA, **WITH_UNANSWERABLE} if self.unanswerable else OF_ANY_DATA

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """A window after the other for each example; where the answer is, or that it is not in the window."""
        features = []
        for window in windows(examples, tokenizer, max_length=self.max_length, stride=self._stride):
            label: Any = examples[window.example].label
            features.append(window.features if label is None else {**window.features, **window.positions(label)})
        return features

    def tune(self, candidate: Candidate, examples: Sequence[Example]) -> Candidate:
        """Choose ``null_threshold`` for the highest F1; without questions that have no answer there is none."""
        if not (self.unanswerable and examples):
            return candidate
        found = self._found(candidate, examples)
        labels: list[Any] = [example.label for example in examples]
        kept, dropped = (
            [scoring.outcome(text, label)[scoring.F1] for text, label in zip(texts, labels, strict=True)]
            for texts in ([answer.text for answer in found], [""] * len(found))
        )
        threshold = scoring.best_threshold([answer.doubt for answer in found], kept, dropped)
        event = f"null threshold {threshold:.3g}, chosen on {len(found)} validation examples"
        return candidate.evolve(event, task=replace(self, null_threshold=threshold))

    def answer(self, candidate: Candidate, examples: Sequence[Example]) -> list[Answer]:
        """The best piece of each context, or none where that is likelier by more than ``null_threshold``."""
        found = self._found(candidate, examples)
        return [answer.unless_above(self.null_threshold) for answer in found] if self.unanswerable else found

    def outcomes(self, examples: Sequence[Example], answers: Sequence[Answer | str]) -> NDArray[Any]:
        """(examples, 3): exact match, F1, and 1 where there is an answer; of answers, or of their texts."""
        import numpy as np

        rows = []
        for example, answer in zip(examples, answers, strict=True):
            label: Any = example.label
            rows.append(scoring.outcome(answer if isinstance(answer, str) else answer.text, label))
        return np.array(rows, dtype=np.float64)

    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Answer pairs of a question and a context.

        ``label`` is the answer, empty where the context has none; ``score`` its probability among the best pieces and
        no answer; ``start`` and ``end`` the characters of the context that it is. Raises ``UsageError`` for a question
        without a context.
        """
        pairs = [text for text in texts if not isinstance(text, str)]
        if len(pairs) < len(texts):
            raise UsageError(
                f"{self.name} needs a question and the context that may answer it, and was given a single text; give "
                "pairs: --text QUESTION --text-pair CONTEXT, or a column 'text_pair'"
            )
        answers = self.answer(candidate, [Example(question.strip(), text_pair=context) for question, context in pairs])
        return [
            {
                "label": answer.text,
                "score": answer.chance,
                "scores": {},
                "start": answer.start,
                "end": answer.start + len(answer.text),
            }
            for answer in answers
        ]

    @property
    def _stride(self) -> int:
        return self.max_length // QUESTION_SHARE if self.stride is None else self.stride

    def _found(self, candidate: Candidate, examples: Sequence[Example]) -> list[Answer]:
        if any(example.text_pair is None for example in examples):
            raise UsageError(f"{self.name} needs a context for each question; give it as the second text")
        read = list(windows(examples, candidate.tokenizer, max_length=self.max_length, stride=self._stride))
        return best_answers(candidate, examples, read, max_tokens=self.max_answer_tokens)
