"""Learn labels and, on unlabeled texts, to answer alike under noise (Xie et al. 2020, "UDA")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.batches import collate
from autoopt.strategies.calibration import unlabeled
from autoopt.strategies.candidate import Batch, Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.noise import hide
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import Schedule, train

if TYPE_CHECKING:
    import torch

SHARPER = 0.4
"""The temperature of the answer to the whole text, so that agreeing means being sure (the paper's for text)."""


class ConsistencyTraining(Strategy):
    """Each batch of unlabeled texts is read whole and with words hidden, to answer alike; labelled ones come beside.

    It runs over the unlabeled texts, so the few labels are seen many times. That they are not learned by heart, an
    example counts only while the model is less sure of its label than 1/classes at the start and 1 at the end: the
    paper's training signal annealing, which is linear here.

    ``weight``: of the agreement in the loss. ``confidence``: only answers surer than that are to be agreed with.
    ``hidden``: the share of the words that the second reading lacks. ``learning_rate`` as for full fine-tuning;
    ``epochs`` over at most ``texts`` texts.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder", "classes", "single", "unlabeled"})
    trains = True
    learns = True

    weight: Annotated[float, Choice(0.5, 1.0, 2.0)] = 1.0
    confidence: Annotated[float, Choice(0.6, 0.8, 0.9)] = 0.8
    hidden: Annotated[float, Choice(0.1, 0.2, 0.3)] = 0.2
    learning_rate: Annotated[float, Choice(5e-5, 1e-4, 2e-4)] = 1e-4
    epochs: Annotated[int, Choice(1, 2)] = 1
    texts: int = 5000
    batch_size: int = 16

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("consistency training, 0 steps")
        import torch

        labelled, texts = candidate.features(), unlabeled(candidate, self.texts, seed)
        pad_token_id = candidate.tokenizer.pad_token_id
        model: Any = candidate.copy_model()
        classes: int = model.config.num_labels
        sure_enough = 1.0

        def anneal(step: int, steps: int) -> None:
            nonlocal sure_enough
            sure_enough = 1 / classes + (1 - 1 / classes) * (step + 1) / steps

        def loss(model: Any, batch: Batch) -> torch.Tensor:
            chosen = [labelled[row] for row in torch.randperm(len(labelled))[: self.batch_size].tolist()]
            own = {name: value.to(model.device) for name, value in collate(chosen, pad_token_id=pad_token_id).items()}
            return _annealed(model, own, candidate, sure_enough) + self.weight * self._disagreement(model, batch)

        schedule = Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size)
        losses = train(
            model,
            texts,
            schedule,
            pad_token_id=pad_token_id,
            effort=effort,
            seed=seed,
            loss=loss,
            before_step=anneal,
        )
        return candidate.evolve(f"consistency training, {len(losses)} steps on {len(texts)} texts", model=model)

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


def _annealed(model: Any, batch: Batch, candidate: Candidate, sure_enough: float) -> torch.Tensor:
    """The loss on the examples of whose labels the model is not sure enough yet; 0 where there are none."""
    import torch

    with torch.no_grad():
        chances = model(**batch).logits.softmax(-1)
    left = chances.gather(1, batch["labels"][:, None])[:, 0] <= sure_enough
    if not left.any():
        return torch.zeros((), device=left.device)
    part = {name: value[left] for name, value in batch.items()}
    return candidate.criterion(model(**part), part)
