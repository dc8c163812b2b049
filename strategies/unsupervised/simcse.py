"""Contrast two encodings of a text with those of other texts (Gao et al. 2021, "SimCSE")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Batch, Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.calibration import unlabeled
from autoopt.strategies.networks.pooling import text_vectors
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.loop import Schedule, train

if TYPE_CHECKING:
    import torch

TEMPERATURE = 0.05


class SimCSE(Strategy):
    """Contrastive training of the vector that the head reads; the positive pair is one text under two dropout masks.

    Worth it if labels are few and each text has one answer. A larger batch contrasts more texts.

    - ``learning_rate``: small, since the model forgets quickly.
    - ``epochs``: passes over at most ``texts`` texts; one is usual.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"head", "dropout", "unlabeled"})
    trains = True

    learning_rate: Annotated[float, Choice(1e-5, 3e-5, 1e-4)] = 3e-5
    epochs: Annotated[int, Choice(1, 2)] = 1
    texts: int = 1000
    batch_size: int = 32

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("SimCSE, 0 steps")
        features = unlabeled(candidate, self.texts, seed)
        model = candidate.copy_model()
        losses = train(
            model,
            features,
            Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size),
            pad_token_id=candidate.tokenizer.pad_token_id,
            effort=effort,
            seed=seed,
            loss=contrastive_loss,
        )
        return candidate.evolve(f"SimCSE, {len(losses)} steps on {len(features)} texts", model=model)


def contrastive_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Return the cross entropy of matching each text's two encodings within the batch, by cosine similarity."""
    import torch
    from torch.nn import functional as F

    mask = batch["attention_mask"]
    states = (model.base_model(**batch).last_hidden_state for _ in range(2))
    first, second = (F.normalize(text_vectors(model, of_pass, mask), dim=-1) for of_pass in states)
    return F.cross_entropy(first @ second.T / TEMPERATURE, torch.arange(len(first), device=first.device))
