"""Train on mixtures of two examples' embeddings and labels (Guo et al. 2019, "Augmenting data with mixup")."""

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
    """Each example of a batch is mixed with another one of it, word by word; the loss is mixed in the same parts.

    ``alpha``: of the Beta(alpha, alpha) that the part is drawn from. 0.2 mixes little; 1 draws all parts alike, for
    very few examples. No extra passes, so it costs next to no time.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder", "classes"})
    after: ClassVar[frozenset[str]] = frozenset({"label_smoothing"})
    excludes: ClassVar[frozenset[str]] = BYPASSING | {"cutoff", "adversarial_training"}

    alpha: Annotated[float, Choice(0.2, 0.5, 1.0)] = 0.2

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        def shape(objective: Objective, model: Any, batch: Batch) -> torch.Tensor:
            import torch

            part = torch.distributions.Beta(self.alpha, self.alpha).sample().item()
            other = torch.randperm(len(batch["labels"])).to(batch["labels"].device)
            words, mask = word_embeddings(model, batch), batch["attention_mask"]
            mixed = with_embeddings(
                batch, part * words + (1 - part) * words[other], attention_mask=torch.maximum(mask, mask[other])
            )
            output = objective.forward(model, mixed)
            swapped = {**mixed, "labels": batch["labels"][other]}
            return part * objective.criterion(output, mixed) + (1 - part) * objective.criterion(output, swapped)

        event = f"mixup with alpha {self.alpha}"
        return candidate.evolve(event, criterion=on_logits(candidate.criterion), shaper=shape)
