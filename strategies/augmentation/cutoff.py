"""Learn to answer alike when some words are cut out (Shen et al. 2020, "A simple but tough-to-beat augmentation")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Batch, Candidate, Objective
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.texts.noise import hide
from autoopt.strategies.training.embedded_batches import BYPASSING
from autoopt.strategies.training.teacher_outputs import output_divergence

if TYPE_CHECKING:
    import torch


class Cutoff(Strategy):
    """Each batch is read twice, whole and with words hidden: both are to be right, and to agree.

    ``share``: of the tokens that are hidden from the second reading, the first of a text never. ``agreement``: how much
    the divergence between the two readings weighs. Twice the time of plain training.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder", "text", "labels"})
    excludes: ClassVar[frozenset[str]] = BYPASSING | {"mixup", "adversarial_training"}

    share: Annotated[float, Choice(0.05, 0.1, 0.2)] = 0.1
    agreement: Annotated[float, Choice(0.5, 1.0, 2.0)] = 1.0

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        def shape(objective: Objective, model: Any, batch: Batch) -> torch.Tensor:
            whole = objective.forward(model, batch)
            hidden = {**batch, "attention_mask": hide(batch["attention_mask"], self.share)}
            part = objective.forward(model, hidden)
            problem = model.config.problem_type
            divergence = output_divergence(part, whole, batch, problem=problem) + output_divergence(
                whole, part, batch, problem=problem
            )
            right = objective.criterion(whole, batch) + objective.criterion(part, batch)
            return (right + self.agreement * divergence) / 2

        return candidate.evolve(f"cutoff of {self.share} of the tokens", shaper=shape)
