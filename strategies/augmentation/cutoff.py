"""Train for consistent answers when tokens are hidden (Shen et al. 2020, "A simple but tough-to-beat augmentation")."""

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
    """The loss on each batch and on a copy with hidden tokens, plus the divergence between the two predictions.

    Takes twice the time of plain training.

    - ``share``: share of the tokens hidden in the copy; the first token of a text is never hidden.
    - ``agreement``: weight of the divergence.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text", "labels"})
    excludes: ClassVar[frozenset[str]] = BYPASSING | {"mixup", "adversarial_training"}

    share: Annotated[float, Choice(0.05, 0.1, 0.2)] = 0.1
    agreement: Annotated[float, Choice(0.5, 1.0, 2.0)] = 1.0

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:  # noqa: ARG002
        def shape(objective: Objective, model: Any, batch: Batch) -> torch.Tensor:
            full_output = objective.forward(model, batch)
            hidden = {**batch, "attention_mask": hide(batch["attention_mask"], self.share)}
            cut_output = objective.forward(model, hidden)
            problem = model.config.problem_type
            divergence = output_divergence(cut_output, full_output, batch, problem=problem) + output_divergence(
                full_output, cut_output, batch, problem=problem
            )
            task_loss = objective.criterion(full_output, batch) + objective.criterion(cut_output, batch)
            return (task_loss + self.agreement * divergence) / 2

        return candidate.evolve(f"cutoff of {self.share} of the tokens", shaper=shape)
