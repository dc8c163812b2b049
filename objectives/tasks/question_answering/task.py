"""Extractive question answering: the span of a context that answers a question, or that there is none in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field

from autoopt.objectives.data.columns import CONTEXT_NAMES
from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.inputs import InputNames
from autoopt.objectives.models.pretrained import Head
from autoopt.objectives.tables.table import Table
from autoopt.objectives.task import Task, label_facts
from autoopt.objectives.tasks.question_answering import scoring
from autoopt.objectives.tasks.question_answering.reading import QUESTION_NAMES, read_questions
from autoopt.objectives.tasks.question_answering.spans import Answer, best_answers
from autoopt.objectives.tasks.question_answering.windows import QUESTION_SHARE, context_windows
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data.text_data import TextData
    from autoopt.objectives.scoring.bootstrap import Statistic

MIN_LENGTH = 8
"""Minimum length of a window in tokens, with room for some words of question and context."""
ANSWER_METRICS: Mapping[str, Statistic] = MappingProxyType({"f1": scoring.f1, "exact_match": scoring.exact_match})
UNANSWERABLE_METRICS: Mapping[str, Statistic] = MappingProxyType(
    {"has_answer_f1": scoring.has_answer_f1, "no_answer_accuracy": scoring.no_answer_accuracy}
)


@dataclass(frozen=True)
class QuestionAnswering(Task):
    """An example is a question with its context; its label is the answers, none if the context has no answer."""

    metrics = (*ANSWER_METRICS, *UNANSWERABLE_METRICS)
    head = Head("AutoModelForQuestionAnswering", outputs=2)
    input_names = InputNames(QUESTION_NAMES, tuple(product(QUESTION_NAMES, CONTEXT_NAMES)), needs_pair=True)
    sample = (
        {
            "question": "Who won the cup?",
            "context": "Chelsea won the cup in the last minute of the match.",
            "answers": {"text": ["Chelsea"], "answer_start": [0]},
        },
        {
            "question": "When did they win?",
            "context": "Chelsea won the cup in the last minute of the match.",
            "answers": {"text": ["in the last minute"], "answer_start": [20]},
        },
        {
            "question": "What fell sharply?",
            "context": "Today the shares of Acme fell sharply.",
            "answers": {"text": ["shares of Acme"], "answer_start": [10]},
        },
        {
            "question": "Whose profit grew?",
            "context": "Today the shares of Acme fell sharply.",
            "answers": {"text": [], "answer_start": []},
        },
        {
            "question": "Where is the bank?",
            "context": "The bank is in Paris and makes a profit.",
            "answers": {"text": ["Paris"], "answer_start": [15]},
        },
        {
            "question": "What does the bank make?",
            "context": "The bank is in Paris and makes a profit.",
            "answers": {"text": ["a profit"], "answer_start": [31]},
        },
    )

    unanswerable: bool = False
    """Whether some questions have no answer in their context."""
    null_threshold: float = 0.0
    """Margin, in logits, by which no answer must exceed the best span to be given."""
    stride: Annotated[
        int | None, Field(ge=1, description="tokens shared by consecutive windows; default: a third of data.max_length")
    ] = None
    max_answer_tokens: Annotated[int, Field(ge=1, description="maximum length of an answer in tokens")] = 30

    def __post_init__(self) -> None:
        if self.max_length < MIN_LENGTH:
            raise UsageError(
                f"{self.name} reads a question and a part of its context at once, and data.max_length is "
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
        train_rows: Sequence[Row] = (),  # noqa: ARG003
    ) -> Reading:
        return read_questions(table, settings)

    @classmethod
    def facts(cls, examples: Sequence[Example]) -> frozenset[str]:
        """Return ``labels``, ``spans``, and ``unanswerable`` if so; not ``text``: an edited context moves answers."""
        unanswerable = {"unanswerable"} if any(example.label == () for example in examples) else set()
        return frozenset({"labels", "spans"}) | unanswerable | label_facts(examples)

    @classmethod
    def of_data(cls, data: TextData, *, max_length: int, metric: str | None) -> Self:
        unanswerable = any(example.label == () for example in (*data.train, *data.validation))
        if metric in UNANSWERABLE_METRICS and not unanswerable:
            raise UsageError(
                f"task.metric: '{metric}' is of questions without an answer, and the data has none; choose "
                f"{' or '.join(ANSWER_METRICS)}"
            )
        return cls(max_length=max_length, metric=metric or "", unanswerable=unanswerable)

    @property
    def statistics(self) -> Mapping[str, Statistic]:
        return {**ANSWER_METRICS, **UNANSWERABLE_METRICS} if self.unanswerable else ANSWER_METRICS

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Return the windows of each example, with the position of the answer, or of ``null`` if it is outside."""
        features = []
        for window in context_windows(examples, tokenizer, max_length=self.max_length, stride=self._stride):
            label: Any = examples[window.example].label
            features.append(window.features if label is None else {**window.features, **window.positions(label)})
        return features

    def tune(self, candidate: Candidate, examples: Sequence[Example]) -> Candidate:
        """Choose ``null_threshold`` for the highest F1 if some questions have no answer."""
        if not (self.unanswerable and examples):
            return candidate
        answers = self._best_answers(candidate, examples)
        labels: list[Any] = [example.label for example in examples]
        answer_f1s, no_answer_f1s = (
            [scoring.outcome(text, label)[scoring.F1] for text, label in zip(texts, labels, strict=True)]
            for texts in ([answer.text for answer in answers], [""] * len(answers))
        )
        threshold = scoring.best_threshold([answer.null_margin for answer in answers], answer_f1s, no_answer_f1s)
        event = f"null threshold {threshold:.3g}, chosen on {len(answers)} validation examples"
        return candidate.evolve(event, task=replace(self, null_threshold=threshold))

    def answer(self, candidate: Candidate, examples: Sequence[Example]) -> list[Answer]:
        """Return the best span of each context, or no answer if that exceeds it by more than ``null_threshold``."""
        answers = self._best_answers(candidate, examples)
        return [answer.unless_above(self.null_threshold) for answer in answers] if self.unanswerable else answers

    def describe_answers(self, examples: Sequence[Example]) -> str:
        without = sum(not example.label for example in examples)
        return "a span of the context" + (f", none for {without:,} of {len(examples):,} questions" if without else "")

    def constant_answers(self, train: Sequence[Example], examples: Sequence[Example]) -> list[Any]:  # noqa: ARG002
        """Return no answer to any question."""
        return [""] * len(examples)

    def outcomes(self, examples: Sequence[Example], answers: Sequence[Answer | str]) -> NDArray[Any]:
        """Return (examples, 3): exact match, F1, and 1 if there is an answer. ``answers`` may be texts."""
        import numpy as np

        rows = []
        for example, answer in zip(examples, answers, strict=True):
            label: Any = example.label
            rows.append(scoring.outcome(answer if isinstance(answer, str) else answer.text, label))
        return np.array(rows, dtype=np.float64)

    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Answer pairs of a question and a context.

        ``label`` is the answer, empty if the context has none; ``score`` its probability among the best spans and no
        answer; ``start`` and ``end`` its characters in the context. Raises ``UsageError`` for a question without a
        context.
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
                "score": answer.probability,
                "scores": {},
                "start": answer.start,
                "end": answer.start + len(answer.text),
            }
            for answer in answers
        ]

    @property
    def _stride(self) -> int:
        return self.max_length // QUESTION_SHARE if self.stride is None else self.stride

    def _best_answers(self, candidate: Candidate, examples: Sequence[Example]) -> list[Answer]:
        if any(example.text_pair is None for example in examples):
            raise UsageError(f"{self.name} needs a context for each question; give it as the second text")
        windows = list(context_windows(examples, candidate.tokenizer, max_length=self.max_length, stride=self._stride))
        return best_answers(candidate, examples, windows, max_tokens=self.max_answer_tokens)
