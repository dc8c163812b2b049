"""Token classification: a tag for each word, and the entities that the tags mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from autoopt.objectives.data.columns import TEXT_NAMES, WORD_NAMES
from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.inputs import InputNames
from autoopt.objectives.models.model_folder import ModelFolder
from autoopt.objectives.models.pretrained import Head
from autoopt.objectives.scoring import scores
from autoopt.objectives.tables.table import Table
from autoopt.objectives.task import Task, label_facts
from autoopt.objectives.tasks.outputs import check_finite, softmax
from autoopt.objectives.tasks.token_classification.reading import read_tagged, tag_names
from autoopt.objectives.tasks.token_classification.windows import word_windows
from autoopt.objectives.tasks.token_classification.words import Word, split_words, word_cutter
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.errors import UsageError
from autoopt.strategies.texts.tag_schemes import TagScheme, scheme_name
from autoopt.strategies.texts.words import lexicon_of
from autoopt.strategies.training.batches import IGNORED_LABEL, forward

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data.text_data import TextData
    from autoopt.objectives.scoring.bootstrap import Statistic

_TOTALS = 5
"""Columns of an outcome that count all types together; three columns for each type follow."""
STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {
        "f1": scores.micro_f1,
        "precision": scores.ratio_of_sums(0, 1),
        "recall": scores.ratio_of_sums(0, 2),
        "macro_f1": scores.macro_f1_of_counts(_TOTALS),
        "accuracy": scores.ratio_of_sums(3, 4),
    }
)
"""The metrics of ``seqeval``: an entity is correct if its words and its type are; ``accuracy`` is that of words."""


@dataclass(frozen=True)
class TokenClassification(Task):
    """Named entities, or other properties of words: each word of an example has a class."""

    metrics = tuple(STATISTICS)
    head = Head("AutoModelForTokenClassification")
    input_names = InputNames((*WORD_NAMES, *TEXT_NAMES), pairs=())
    sample = (
        {"tokens": ["Chelsea", "won", "in", "London"], "tags": ["B-ORG", "O", "O", "B-LOC"]},
        {"tokens": ["Anna", "lives", "in", "Paris"], "tags": ["B-PER", "O", "O", "B-LOC"]},
        {"tokens": ["Shares", "of", "Acme", "fell"], "tags": ["O", "O", "B-ORG", "O"]},
        {"tokens": ["Anna", "Berg", "bought", "Acme"], "tags": ["B-PER", "I-PER", "O", "B-ORG"]},
        {"tokens": ["It", "rained", "in", "New", "York"], "tags": ["O", "O", "O", "B-LOC", "I-LOC"]},
        {"tokens": ["Nobody", "saw", "Peter"], "tags": ["O", "O", "B-PER"]},
    )

    lexicon: tuple[str, ...] = ()
    """Words of the training data in scripts without blanks between words, such as Chinese; a text is cut into these."""
    reads_last: bool = False
    """Whether the last token of a word stands for it: the only one of which a decoder has seen the whole word."""

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise UsageError(f"{self.name} needs at least two different tags, it was given {list(self.labels)}")
        super().__post_init__()

    @property
    def statistics(self) -> Mapping[str, Statistic]:
        return STATISTICS

    @property
    def scheme(self) -> TagScheme:
        """The tagging scheme, such as BIO."""
        return TagScheme.of(self.labels)

    @classmethod
    def read(
        cls,
        table: Table,
        settings: DataSettings,
        *,
        metric: str | None,  # noqa: ARG003
        train_rows: Sequence[Row] = (),  # noqa: ARG003
    ) -> Reading:
        return read_tagged(table, settings)

    @classmethod
    def label_names(cls, rows: Sequence[Row], *, source: str) -> tuple[str, ...]:
        return tag_names(rows, source=source)

    @classmethod
    def facts(cls, examples: Sequence[Example]) -> frozenset[str]:
        """Return ``labels``, ``tags`` and ``single``; not ``text``, since each word has a tag."""
        return frozenset({"labels", "tags"}) | label_facts(examples)

    @classmethod
    def of_data(cls, data: TextData, *, max_length: int, metric: str | None) -> Self:
        task = super().of_data(data, max_length=max_length, metric=metric)
        return replace(task, lexicon=lexicon_of(_sentences(data.train)))

    def to_json(self) -> dict[str, Any]:
        """Return everything needed to rebuild the task; fields that earlier versions lacked only if they are set."""
        unset = {name for name in ("lexicon", "reads_last") if not getattr(self, name)}
        return {key: value for key, value in super().to_json().items() if key not in unset}

    def for_model(self, folder: ModelFolder) -> Self:
        """Return the task with the token of a word that the model answers at."""
        return replace(self, reads_last=folder.decodes)

    def describe_answers(self, examples: Sequence[Example]) -> str:
        scheme, tags = self.scheme, (self._tags(example) for example in examples)
        types = f"{len(scheme.types):,} types of {'entities' if scheme.outside else 'words'}"
        return f"a tag for each word; {scheme_name(self.labels, tags)}, {types}"

    def class_counts(self, examples: Sequence[Example]) -> Counter[str]:
        """Return how many entities there are of each type."""
        scheme = self.scheme
        return Counter(entity.type for example in examples for entity in scheme.entities(self._tags(example)))

    def constant_answers(self, train: Sequence[Example], examples: Sequence[Example]) -> list[Any]:
        (commonest, _), *_ = Counter(number for example in train for number in _classes(example)).most_common(1)
        return [(commonest,) * len(_classes(example)) for example in examples]

    def _tags(self, example: Example) -> list[str]:
        return [self.labels[number] for number in _classes(example)]

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Tokenize, unpadded; a sentence longer than ``max_length`` gives several overlapping windows.

        The class of a word is at the token that stands for it in the window that answers it; other tokens have
        ``IGNORED_LABEL``.
        A window of a labelled example without any class is left out, since its loss is undefined.
        """
        features = []
        sentences = _sentences(examples)
        for window in word_windows(sentences, tokenizer, max_length=self.max_length, last=self.reads_last):
            label: Any = examples[window.sentence].label
            if label is None:
                features.append(window.features)
            elif window.tokens:
                classes = [IGNORED_LABEL] * len(window.features["input_ids"])
                for word, position in window.tokens.items():
                    classes[position] = label[word]
                features.append({**window.features, "labels": classes})
        return features

    def answer(self, candidate: Candidate, examples: Sequence[Example]) -> list[Any]:
        """Return a tuple for each example, with a class for each word."""
        sentences = self._probabilities(candidate, _sentences(examples))
        return [tuple(probabilities.argmax(axis=1).tolist()) for probabilities in sentences]

    def outcomes(self, examples: Sequence[Example], answers: Sequence[Any]) -> NDArray[Any]:
        """Return counts of shape (examples, 5 + 3 * types).

        They are correct, predicted and true entities, correct and all words; then correct, predicted and true entities
        of each type.
        """
        import numpy as np

        scheme = self.scheme
        rows = [self._counts(scheme, example.label, answer) for example, answer in zip(examples, answers, strict=True)]
        return np.array(rows, dtype=np.int64).reshape(len(rows), _TOTALS + 3 * len(scheme.types))

    def per_type(self, outcomes: NDArray[Any]) -> list[dict[str, Any]]:
        """Return ``type``, ``precision``, ``recall``, ``f1`` and ``support`` of each type of entity.

        A ratio is 0 if its denominator is.
        """
        table = []
        for name, counts in zip(self.scheme.types, outcomes[:, _TOTALS:].sum(axis=0).reshape(-1, 3), strict=True):
            correct, predicted, true = map(int, counts)
            table.append(
                {
                    "type": name,
                    "precision": correct / max(1, predicted),
                    "recall": correct / max(1, true),
                    "f1": 2 * correct / max(1, predicted + true),
                    "support": true,
                }
            )
        return table

    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Return for each text its ``entities``, and as ``label`` ``Chelsea/ORG London/LOC``, empty without entities.

        An entity has ``type``, ``text``, ``start`` and ``end`` in characters, and ``score``, the mean probability of
        its words' tags. The ``score`` of a text is the mean over the words of its entities, over all words if it has no
        entities, and 0 without words.
        """
        pair = next((text for text in texts if not isinstance(text, str)), None)
        if pair is not None:
            raise UsageError(f"{self.name} reads single texts, and {pair!r:.80} is a pair; give its texts one by one")
        cut = word_cutter(self.lexicon, candidate.tokenizer)
        sentences = [split_words(str(text), cut) for text in texts]
        probabilities = self._probabilities(candidate, [[word.text for word in words] for words in sentences])
        scheme = self.scheme
        return [
            self._prediction(scheme, str(text), words, of_words)
            for text, words, of_words in zip(texts, sentences, probabilities, strict=True)
        ]

    def _probabilities(self, candidate: Candidate, sentences: Sequence[Sequence[str]]) -> list[NDArray[Any]]:
        """Return for each sentence the probabilities of the classes, (words, classes)."""
        import numpy as np

        without_token = np.zeros(len(self.labels))
        without_token[self.labels.index(self.scheme.outside or self.labels[0])] = 1
        probabilities = [np.tile(without_token, (len(words), 1)) for words in sentences]
        last = isinstance(candidate.task, TokenClassification) and candidate.task.reads_last
        windows = word_windows(sentences, candidate.tokenizer, max_length=self.max_length, last=last)
        inputs = [window.features for window in windows]
        for positions, _, output in forward(candidate.model, inputs, pad_token_id=candidate.tokenizer.pad_token_id):
            logits = output.logits.double().cpu().numpy()
            for of_window, position in zip(logits, positions, strict=True):
                tokens = windows[position].tokens
                of_words = check_finite(of_window[list(tokens.values())])
                probabilities[windows[position].sentence][list(tokens)] = softmax(of_words)
        return probabilities

    def _counts(self, scheme: TagScheme, label: Any, answer: Sequence[int]) -> list[int]:
        true, predicted = ({*scheme.entities([self.labels[number] for number in side])} for side in (label, answer))
        by_type = [Counter(entity.type for entity in entities) for entities in (true & predicted, predicted, true)]
        correct_words = sum(expected == actual for expected, actual in zip(label, answer, strict=True))
        return [
            *(counts.total() for counts in by_type),
            *(correct_words, len(label)),
            *(counts[name] for name in scheme.types for counts in by_type),
        ]

    def _prediction(
        self, scheme: TagScheme, text: str, words: Sequence[Word], probabilities: NDArray[Any]
    ) -> dict[str, Any]:
        word_scores = probabilities.max(axis=1)
        entities, entity_scores = [], []
        for entity in scheme.entities([self.labels[number] for number in probabilities.argmax(axis=1)]):
            start, end = words[entity.start].start, words[entity.end - 1].end
            own_scores = word_scores[entity.start : entity.end]
            score = float(own_scores.mean())
            entities.append({"type": entity.type, "text": text[start:end], "start": start, "end": end, "score": score})
            entity_scores += own_scores.tolist()
        averaged = entity_scores or word_scores.tolist()
        label = " ".join(f"{entity['text']}/{entity['type']}" for entity in entities)
        return {"label": label, "score": sum(averaged) / max(1, len(averaged)), "scores": {}, "entities": entities}


def _sentences(examples: Sequence[Example]) -> list[list[str]]:
    return [example.text.split(" ") for example in examples]


def _classes(example: Example) -> tuple[int, ...]:
    label: Any = example.label
    return tuple(label)
