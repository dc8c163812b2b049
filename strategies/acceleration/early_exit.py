"""Answer easy texts after the first layers (Xin et al. 2020, "DeeBERT")."""

from __future__ import annotations

import random
from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Batch, Candidate, Example, Features
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.architectures import layers
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import batches
from autoopt.strategies.training.loop import Schedule, train

if TYPE_CHECKING:
    import torch

UNSEEN, MOST_UNSEEN = 50, 400
"""At least and at most so many texts that were not trained on show after how many layers texts are answered."""
HELD_OUT = 0.2
"""Of the training examples, which stand in for such texts where there are too few."""


class EarlyExit(Strategy):
    """A classifier after each layer; if it is confident, the layers above do not run.

    Worth it for the median latency of single texts. The 95th percentile stays, and batches gain little, since they run
    until their last text is answered. The classifiers are trained on the finished model, which is left unchanged.
    Latency is measured over the exit depths of texts that were not trained on, or of held-out training texts if there
    are too few.

    - ``confidence``: probability at which a classifier answers. 0.9 costs about a point; above 0.95 hardly any text is
      answered early.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"classes", "layers"})
    after: ClassVar[frozenset[str]] = frozenset(
        {"half_precision", "int8_dynamic", "int8_embeddings", "int8_weight_only", "int4_weight_only", "sequence_length"}
    )
    excludes: ClassVar[frozenset[str]] = frozenset({"onnx_runtime", "half_precision"})
    adaptive = True

    confidence: Annotated[float, Choice(0.8, 0.9, 0.95)] = 0.9
    learning_rate: float = 1e-3
    epochs: int = 10
    examples: int = 2000
    batch_size: int = 32

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        import torch

        from autoopt.strategies.stand_ins.early_exit_model import untrained_mix

        inner: Any = candidate.copy_model()
        depth = len(layers(inner))
        if depth == 1:
            return candidate.evolve("no early exits, since there is one layer alone")
        mix = untrained_mix(inner)
        edit = {"strategy": self.name, "confidence": self.confidence, "mix": mix}
        torch.manual_seed(seed)
        model = self.reshape(inner, edit)
        if effort > 0:
            chosen = random.Random(seed).sample(candidate.train, min(self.examples, len(candidate.train)))
            held_out = max(1, round(HELD_OUT * len(chosen)))
            self._learn(model, candidate.task.encode(chosen[held_out:], candidate.tokenizer), candidate, effort, seed)
            model.eval()
            mix = _mix(model, candidate.task.encode(_unseen(candidate, seed) or chosen[:held_out], candidate.tokenizer))
            model.remember(mix)
        event = (
            f"early exits at a confidence of {self.confidence}, after {fmean(mix):.1f} of {depth} layers on the mean"
        )
        return candidate.evolve(event, model=model.eval(), edits=(*candidate.edits, {**edit, "mix": mix}))

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        from autoopt.strategies.stand_ins.early_exit_model import EarlyExitModel

        return EarlyExitModel(model, confidence=edit["confidence"], mix=edit["mix"])

    def _learn(self, model: Any, features: list[Features], candidate: Candidate, effort: float, seed: int) -> None:
        """Train the classifiers, all at once, on the vectors that the head would read after each layer."""
        import torch
        from torch.nn import functional as F

        recorded: list[Any] = [None] * len(features)
        pad_token_id = candidate.tokenizer.pad_token_id
        for places, batch, output in batches.forward(
            model.model, features, pad_token_id=pad_token_id, hidden_states=True
        ):
            mask = batch["attention_mask"].to(model.device)
            vectors = torch.stack([model.vectors(states, mask) for states in output.hidden_states[1:-1]], dim=1)
            for place, states in zip(places, vectors, strict=True):
                recorded[place] = states.clone()

        def loss(exits: Any, batch: Batch) -> torch.Tensor:
            states = torch.stack([recorded[row] for row in batch["row"].tolist()])
            return torch.stack(
                [F.cross_entropy(one(states[:, place]), batch["labels"]) for place, one in enumerate(exits)]
            ).mean()

        train(
            model.exits,
            [{"input_ids": [0], "labels": item["labels"], "row": row} for row, item in enumerate(features)],
            Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size),
            pad_token_id=pad_token_id,
            effort=effort,
            seed=seed,
            loss=loss,
        )


def _unseen(candidate: Candidate, seed: int) -> list[Example]:
    """Some unlabeled texts that are no training texts; none where there are few, or where the task is about pairs."""
    known = {example.text for example in candidate.train}
    texts = [text for text in candidate.unlabeled if text not in known]
    if len(texts) < UNSEEN or any(example.text_pair is not None for example in candidate.train[:1]):
        return []
    return [Example(text) for text in random.Random(seed).sample(texts, min(MOST_UNSEEN, len(texts)))]


def _mix(model: Any, features: list[Features]) -> list[int]:
    """After how many layers each text is answered, alone."""
    import torch

    found = []
    for item in features:
        inputs = {name: torch.tensor([value], device=model.device) for name, value in item.items() if name != "labels"}
        with torch.inference_mode():
            found.append(model.answered_after(**inputs))
    return found
