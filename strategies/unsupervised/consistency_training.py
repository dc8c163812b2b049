"""Learn labels and, on unlabeled texts, to answer alike under noise (Xie et al. 2020, "UDA")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.batches import collate
from autoopt.strategies.calibration import unlabeled
from autoopt.strategies.candidate import Batch, Candidate, Objective
from autoopt.strategies.knobs import Choice
from autoopt.strategies.noise import hide
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import Schedule, fit

if TYPE_CHECKING:
    import torch

SHARPER = 0.4
"""The temperature of the answer to the whole text, so that agreeing means being sure (the paper's for text)."""


class ConsistencyTraining(Strategy):
    """Beside each batch of labelled texts one of unlabeled ones, read whole and with words hidden: both answers agree.

    What follows in the recipe then trains on the labels alone. Worth it where labels are few.

    ``weight``: of the agreement in the loss. ``confidence``: only answers surer than that are to be agreed with.
    ``hidden``: the share of the words that the second reading lacks. ``learning_rate`` as for full fine-tuning;
    ``epochs`` over the labelled examples, the more the fewer there are.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder", "classes", "single", "unlabeled"})
    trains = True

    weight: Annotated[float, Choice(0.5, 1.0, 2.0)] = 1.0
    confidence: Annotated[float, Choice(0.6, 0.8, 0.9)] = 0.8
    hidden: Annotated[float, Choice(0.1, 0.2, 0.3)] = 0.2
    learning_rate: Annotated[float, Choice(5e-5, 1e-4, 2e-4)] = 1e-4
    epochs: Annotated[int, Choice(3, 5, 8)] = 5
    texts: int = 5000
    batch_size: int = 16

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("consistency training, 0 steps")
        features = unlabeled(candidate, self.texts, seed)
        pad_token_id = candidate.tokenizer.pad_token_id

        def shape(objective: Objective, model: Any, batch: Batch) -> torch.Tensor:
            import torch

            chosen = [features[row] for row in torch.randperm(len(features))[: self.batch_size].tolist()]
            others = {
                name: value.to(model.device) for name, value in collate(chosen, pad_token_id=pad_token_id).items()
            }
            return objective(model, batch) + self.weight * self._disagreement(model, others)

        model = candidate.copy_model()
        schedule = Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size)
        losses = fit(replace(candidate, shaper=shape), model, schedule, effort=effort, seed=seed)
        return candidate.evolve(f"consistency training, {len(losses)} steps on {len(features)} texts", model=model)

    def _disagreement(self, model: Any, batch: Batch) -> torch.Tensor:
        """KL(whole, sharpened || with words hidden), the mean over all texts; 0 for those that are not sure."""
        import torch
        from torch.nn import functional as F

        with torch.no_grad():
            whole = model(**batch).logits
        sure = whole.softmax(-1).amax(-1) >= self.confidence
        part = model(**{**batch, "attention_mask": hide(batch["attention_mask"], self.hidden)}).logits
        apart = F.kl_div(F.log_softmax(part, -1), F.softmax(whole / SHARPER, -1), reduction="none").sum(-1)
        disagreement: torch.Tensor = (apart * sure).mean()
        return disagreement
