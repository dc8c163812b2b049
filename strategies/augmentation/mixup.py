"""Train on convex combinations of two examples (Guo et al. 2019, "Augmenting data with mixup")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Batch, Candidate, Objective
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.embedded_batches import BYPASSING, with_embeddings, word_embeddings
from autoopt.strategies.training.losses import on_logits

if TYPE_CHECKING:
    import torch


class Mixup(Strategy):
    """Embeddings of each example are mixed with those of another one in the batch, losses in the same proportion.

    No extra passes, so it costs almost no time.

    - ``alpha``: parameter of the Beta(alpha, alpha) distribution of the proportion. 0.2 mixes little; 1 is uniform, for
      very few examples.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"classes"})
    after: ClassVar[frozenset[str]] = frozenset({"label_smoothing"})
    excludes: ClassVar[frozenset[str]] = BYPASSING | {"cutoff", "adversarial_training"}

    alpha: Annotated[float, Choice(0.2, 0.5, 1.0)] = 0.2

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        def shape(objective: Objective, model: Any, batch: Batch) -> torch.Tensor:
            import torch

            weight = torch.distributions.Beta(self.alpha, self.alpha).sample().item()
            partners = torch.randperm(len(batch["labels"])).to(batch["labels"].device)
            embeddings, mask = word_embeddings(model, batch), batch["attention_mask"]
            mixed = with_embeddings(
                batch,
                weight * embeddings + (1 - weight) * embeddings[partners],
                attention_mask=torch.maximum(mask, mask[partners]),
            )
            output = objective.forward(model, mixed)
            swapped = {**mixed, "labels": batch["labels"][partners]}
            return weight * objective.criterion(output, mixed) + (1 - weight) * objective.criterion(output, swapped)

        event = f"mixup with alpha {self.alpha}"
        return candidate.evolve(event, criterion=on_logits(candidate.criterion), shaper=shape)
