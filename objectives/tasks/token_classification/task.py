"""Token classification: a tag for each word, and the entities that the tags mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.judging import scores
from autoopt.objectives.models.pretrained import Head
from autoopt.objectives.task import Task
from autoopt.objectives.tasks.token_classification.reading import read_tagged, tag_names
from autoopt.objectives.tasks.token_classification.windows import word_windows
from autoopt.objectives.tasks.token_classification.words import RawWord, raw_words
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.errors import Diverged, UsageError
from autoopt.strategies.texts.tag_schemes import TagScheme
from autoopt.strategies.training.batches import IGNORED_LABEL, forward

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data.settings import DataSettings
    from autoopt.objectives.file_formats.table import Table
    from autoopt.objectives.judging.bootstrap import Statistic

_OF_ALL = 5
"""How many numbers of an outcome are of all types together; three of each type follow."""
STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {
        "f1": scores.micro_f1,
        "precision": scores.ratio_of(0, 1),
        "recall": scores.ratio_of(0, 2),
        "macro_f1": scores.macro_f1_of_counts(_OF_ALL),
        "accuracy": scores.ratio_of(3, 4),
    }
)
"""Those of ``seqeval``: an entity is right where its words and its type are; ``accuracy`` is of words."""


@dataclass(frozen=True)
class TokenClassification(Task):
    """Named entities, or whatever else is said of words: each word of an example has a class."""

    metrics = ("f1", "precision", "recall", "macro_f1", "accuracy")
    head = Head.WORDS
    facts = frozenset({"labels", "tags"})

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise UsageError(f"{self.name} needs at least two different tags, it was given {list(self.labels)}")
        super().__post_init__()

    @property
    def statistics(self) -> Mapping[str, Statistic]:
        return STATISTICS

    @property
    def scheme(self) -> TagScheme:
        """How the tags are read."""
        return TagScheme.of(self.labels)

    @classmethod
    def read(cls, table: Table, settings: DataSettings, *, metric: str | None, like: Sequence[Row] = ()) -> Reading:  # noqa: ARG003
        return read_tagged(table, settings)

    @classmethod
    def label_names(cls, rows: Sequence[Row], *, source: str) -> tuple[str, ...]:
        return tag_names(rows, source=source)

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Tokenize and not pad; a sentence longer than ``max_length`` gives several windows that overlap.

        The class of a word is at its first token in the window where it is answered, ``IGNORED_LABEL`` everywhere
        else. A window of a labelled example that has no class in it is left out: its loss is not defined.
        """
        features = []
        for window in word_windows(_sentences(examples), tokenizer, max_length=self.max_length):
            label: Any = examples[window.sentence].label
            if label is None:
                features.append(window.features)
            elif window.tokens:
                classes = [IGNORED_LABEL] * len(window.features["input_ids"])
                for word, place in window.tokens.items():
                    classes[place] = label[word]
                features.append({**window.features, "labels": classes})
        return features

    def answer(self, candidate: Candidate, examples: Sequence[Example]) -> list[Any]:
        """A tuple with a class for each word."""
        return [tuple(chances.argmax(axis=1).tolist()) for chances in self._chances(candidate, _sentences(examples))]

    def outcomes(self, examples: Sequence[Example], answers: Sequence[Any]) -> NDArray[Any]:
        """(examples, 5 + 3 x types), all of them counts.

        First the entities that were found rightly, found at all, and there to be found, then the words tagged rightly
        and all words; then the first three for each type.
        """
        import numpy as np

        scheme = self.scheme
        rows = [self._outcome(scheme, example.label, answer) for example, answer in zip(examples, answers, strict=True)]
        return np.array(rows, dtype=np.int64).reshape(len(rows), _OF_ALL + 3 * len(scheme.types))

    def per_type(self, outcomes: NDArray[Any]) -> list[dict[str, Any]]:
        """For each type of entity its ``type``, ``precision``, ``recall``, ``f1`` and ``support``, how many there are.

        A ratio is 0 where there is nothing to divide by.
        """
        table = []
        for name, counts in zip(self.scheme.types, outcomes[:, _OF_ALL:].sum(axis=0).reshape(-1, 3), strict=True):
            right, predicted, true = map(int, counts)
            table.append(
                {
                    "type": name,
                    "precision": right / max(1, predicted),
                    "recall": right / max(1, true),
                    "f1": 2 * right / max(1, predicted + true),
                    "support": true,
                }
            )
        return table

    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Return for each text its ``entities``, and ``label``: 'Chelsea/team London/place', empty without entities.

        An entity has ``type``, ``text``, its first character ``start``, ``end`` behind its last, and ``score``, the
        mean probability of its words' tags. The ``score`` of a text is the mean over the words of its entities, over
        all words where it has none, and 0 without words.
        """
        pair = next((text for text in texts if not isinstance(text, str)), None)
        if pair is not None:
            raise UsageError(f"{self.name} reads single texts, and {pair!r:.80} is a pair; give its texts one by one")
        split = [raw_words(str(text)) for text in texts]
        chances = self._chances(candidate, [[word.text for word in words] for words in split])
        scheme = self.scheme
        return [
            self._prediction(scheme, str(text), words, of_words)
            for text, words, of_words in zip(texts, split, chances, strict=True)
        ]

    def _chances(self, candidate: Candidate, sentences: Sequence[Sequence[str]]) -> list[NDArray[Any]]:
        """For each sentence the probabilities of the classes, (words, classes)."""
        import numpy as np

        silent = np.zeros(len(self.labels))
        silent[self.labels.index(self.scheme.outside or self.labels[0])] = 1  # Of a word that becomes no token.
        chances = [np.tile(silent, (len(words), 1)) for words in sentences]
        windows = word_windows(sentences, candidate.tokenizer, max_length=self.max_length)
        inputs = [window.features for window in windows]
        for positions, _, output in forward(candidate.model, inputs, pad_token_id=candidate.tokenizer.pad_token_id):
            logits = output.logits.double().cpu().numpy()
            for of_window, position in zip(logits, positions, strict=True):
                tokens = windows[position].tokens
                chances[windows[position].sentence][list(tokens)] = _softmax(of_window[list(tokens.values())])
        return chances

    def _outcome(self, scheme: TagScheme, label: Any, answer: Sequence[int]) -> list[int]:
        true, predicted = ({*scheme.entities([self.labels[number] for number in side])} for side in (label, answer))
        counts = [Counter(entity.type for entity in found) for found in (true & predicted, predicted, true)]
        words = [sum(one == other for one, other in zip(label, answer, strict=True)), len(label)]
        return [
            *(count.total() for count in counts),
            *words,
            *(count[name] for name in scheme.types for count in counts),
        ]

    def _prediction(
        self, scheme: TagScheme, text: str, words: Sequence[RawWord], chances: NDArray[Any]
    ) -> dict[str, Any]:
        scores = chances.max(axis=1)
        entities, covered = [], []
        for found in scheme.entities([self.labels[number] for number in chances.argmax(axis=1)]):
            start, end = words[found.start].start, words[found.end - 1].end
            score = float(scores[found.start : found.end].mean())
            entities.append({"type": found.type, "text": text[start:end], "start": start, "end": end, "score": score})
            covered += scores[found.start : found.end].tolist()
        of = covered or scores.tolist()
        label = " ".join(f"{entity['text']}/{entity['type']}" for entity in entities)
        return {"label": label, "score": sum(of) / max(1, len(of)), "scores": {}, "entities": entities}


def _sentences(examples: Sequence[Example]) -> list[list[str]]:
    return [example.text.split(" ") for example in examples]


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Over the last axis; raises ``Diverged`` where a logit is not finite."""
    import numpy as np

    if not np.isfinite(logits).all():
        raise Diverged("the model's output is not finite; a lower learning rate may help")
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]
