"""Text classification: one class for each text, or for each pair of texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from autoopt.objectives import statistics
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.model_folder import find_model
from autoopt.objectives.pretrained import open_classifier
from autoopt.objectives.task import Task
from autoopt.strategies.batches import forward
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.errors import Diverged, UsageError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from autoopt.objectives.data import TextData

METRICS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {"accuracy": statistics.accuracy, "macro_f1": statistics.macro_f1}
)
"""The scores; one of them is the quality."""
NO_LABEL = -1


@dataclass(frozen=True)
class TextClassification(Task):
    """Classes by name, the length in tokens at which a text is cut, and the score that counts as quality."""

    metrics = tuple(METRICS)

    labels: tuple[str, ...]
    max_length: int = 128
    metric: str = "accuracy"

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise UsageError(f"{self.name} needs at least two different classes, it was given {list(self.labels)}")
        if self.metric not in METRICS:
            raise UsageError(
                f"'{self.metric}' is no metric of {self.name}{did_you_mean(self.metric, METRICS)}; "
                f"choose {' or '.join(METRICS)}"
            )

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        return cls(labels=tuple(fields["labels"]), max_length=fields["max_length"], metric=fields["metric"])

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "labels": list(self.labels), "max_length": self.max_length, "metric": self.metric}

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Features]:
        """Tokenize, truncated to ``max_length`` and not padded; no ``labels`` where an example's label is negative."""
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
            item if example.label < 0 else {**item, "labels": example.label}
            for item, example in zip(features, examples, strict=True)
        ]

    def open_model(self, model: str, *, data: TextData | None = None, seed: int = 0) -> Candidate:
        """Open a folder, ``package://name/path`` or a Hub name, from safetensors only.

        The head is kept where the model has one for exactly these classes; else it is drawn from ``seed``. ``data``
        gives the candidate its training examples and unlabeled texts. Raises ``ModelError``.
        """
        network, tokenizer = open_classifier(
            find_model(model), labels=self.labels, max_length=self.max_length, seed=seed
        )
        return Candidate(
            model=network,
            tokenizer=tokenizer,
            task=self,
            train=data.train if data else (),
            unlabeled=data.unlabeled if data else (),
            history=(f"opened {model}",),
        )

    def score(self, candidate: Candidate, examples: Sequence[Example]) -> dict[str, Measurement]:
        """Return ``quality``, ``accuracy`` and ``macro_f1`` with 95 % bootstrap intervals over the examples.

        Raises ``Diverged`` where the model's output is not finite.
        """
        import numpy as np

        if not examples:
            raise ValueError("a score needs at least one example")
        predicted = self._logits(candidate, examples).argmax(axis=1)
        outcomes = np.column_stack([[example.label for example in examples], predicted]).astype(np.int64)
        scores = {name: _measure(name, outcomes, statistic) for name, statistic in METRICS.items()}
        return {"quality": _measure("quality", outcomes, METRICS[self.metric]), **scores}

    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Return for each text, or pair of texts, its ``label``, its ``score``, and the ``scores`` of all classes."""
        if not texts:
            return []
        examples = [
            Example(text, NO_LABEL) if isinstance(text, str) else Example(text[0], NO_LABEL, text_pair=text[1])
            for text in texts
        ]
        logits = self._logits(candidate, examples)
        shifted = logits - logits.max(axis=1, keepdims=True)
        chances = _exponential(shifted) / _exponential(shifted).sum(axis=1, keepdims=True)
        answers = []
        for row in chances.tolist():
            best = max(range(len(row)), key=row.__getitem__)
            scores = dict(zip(self.labels, row, strict=True))
            answers.append({"label": self.labels[best], "score": row[best], "scores": scores})
        return answers

    def _logits(self, candidate: Candidate, examples: Sequence[Example]) -> NDArray[Any]:
        """Shape (examples, classes), in the order of the examples."""
        import numpy as np

        logits = np.empty((len(examples), len(self.labels)), dtype=np.float64)
        features = self.encode(examples, candidate.tokenizer)
        for positions, _, output in forward(candidate.model, features, pad_token_id=candidate.tokenizer.pad_token_id):
            logits[positions] = output.logits.float().cpu().numpy()
        if not np.isfinite(logits).all():
            raise Diverged("the model's output is not finite; a lower learning rate may help")
        return logits


def _measure(name: str, outcomes: NDArray[Any], statistic: Callable[[Any, Any], Any]) -> Measurement:
    import numpy as np

    value = float(statistic(outcomes, np.ones((1, len(outcomes)), dtype=np.int64))[0])
    low, high = statistics.bootstrap_interval(outcomes, statistic=statistic, seed=0)
    return Measurement(
        name=name, value=value, unit="", direction=Direction.MAXIMIZE, low=low, high=high, samples=len(outcomes)
    )


def _exponential(values: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.exp(values)  # type: ignore[no-any-return]
