"""Text classification: one class for each text, or for each pair of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from autoopt.objectives import statistics
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.model_folder import ModelFolder, find_model
from autoopt.objectives.task import Task
from autoopt.strategies.batches import forward
from autoopt.strategies.candidate import Candidate, Example, Features
from autoopt.strategies.errors import Diverged, ModelError, UsageError, did_you_mean

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
        folder = find_model(model)
        with _silent_transformers():
            tokenizer = _tokenizer(folder)
            network = self._network(folder, seed)
        self._check_fit(folder, network, tokenizer)
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

    def _network(self, folder: ModelFolder, seed: int) -> Any:
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification

        config = AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
        names = dict(enumerate(self.labels))
        keep_head = config.id2label == names
        config.problem_type = "single_label_classification"
        config.id2label, config.label2id = names, {name: number for number, name in names.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network, report = AutoModelForSequenceClassification.from_pretrained(
                folder.path,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
            _check_report(folder, network, report)
            if not keep_head:
                _draw_head(network)
        return network.eval()

    def _check_fit(self, folder: ModelFolder, network: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        positions = folder.config.get("max_position_embeddings")
        # RoBERTa and its like count positions from behind the padding index.
        reserved = (network.config.pad_token_id or 0) + 1 if "roberta" in network.config.model_type else 0
        if positions is not None and self.max_length > positions - reserved:
            raise ModelError(
                f"{folder.name} reads at most {positions - reserved} tokens, and data.max_length is {self.max_length}; "
                "lower it"
            )
        if len(tokenizer) > network.config.vocab_size:
            raise ModelError(
                f"the tokenizer of {folder.name} has {len(tokenizer):,} tokens and its model "
                f"{network.config.vocab_size:,}; they do not belong together: download the model again"
            )
        if tokenizer.pad_token_id is None:
            raise ModelError(f"the tokenizer of {folder.name} has no padding token; set pad_token in its configuration")


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


def _tokenizer(folder: ModelFolder) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise ModelError(f"the tokenizer of {folder.name} cannot be read: {error}; download the model again") from None


def _check_report(folder: ModelFolder, network: Any, report: Mapping[str, Any]) -> None:
    """The body must be complete. A head, and the pooler below it, may be new."""
    body = network.base_model_prefix + "."
    mismatched = {entry[0] for entry in report["mismatched_keys"]}
    gaps = sorted(
        key for key in {*report["missing_keys"], *mismatched} if key.startswith(body) and ".pooler." not in key
    )
    surplus = sorted(key for key in report["unexpected_keys"] if key.startswith(body) and ".layer." in key)
    if gaps or surplus:
        what = f"lack {', '.join(gaps[:3])}" if gaps else f"have {', '.join(surplus[:3])} too much"
        raise ModelError(
            f"the weights of {folder.name} do not fit its config.json: they {what} ({len(gaps or surplus)} in all); "
            "download the model again"
        )


def _draw_head(network: Any) -> None:
    """Give every module beside the body fresh weights, by the model's own rule."""
    for name, module in network.named_children():
        if name != network.base_model_prefix:
            for part in module.modules():
                for parameter in part.parameters(recurse=False):
                    parameter._is_hf_initialized = False
                network._init_weights(part)


@contextmanager
def _silent_transformers() -> Iterator[None]:
    """No progress bar and no report of the weights that are new: they are checked here."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
