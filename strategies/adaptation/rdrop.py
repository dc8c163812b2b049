"""Fine-tune for consistent predictions under two dropout masks (Liang et al. 2021, "R-Drop")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from autoopt.strategies.candidate import Batch, Candidate, Objective
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.solved_head import copy_for_training
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.learning_rates import AUTO, LearningRate, resolve
from autoopt.strategies.training.loop import Schedule, fit
from autoopt.strategies.training.teacher_outputs import output_divergence

if TYPE_CHECKING:
    import torch


class RDrop(Strategy):
    """A strong regularizer for few examples, at twice the time of full fine-tuning.

    Cannot be combined with augmentations that also change how a batch is evaluated.

    - ``agreement``: weight of the divergence between the two passes; 1 to 5.
    - ``learning_rate``: as for full fine-tuning.
    - ``epochs``: slightly more than for full fine-tuning.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    excludes: ClassVar[frozenset[str]] = frozenset({"mixup", "cutoff", "adversarial_training"})
    trains = True

    agreement: Annotated[float, Choice(0.5, 1.0, 4.0)] = 1.0
    learning_rate: Annotated[LearningRate, Choice(AUTO, 5e-5, 1e-4, 2e-4)] = AUTO
    epochs: Annotated[int, Choice(3, 5)] = 3
    batch_size: int = 16
    head_first: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("R-Drop, 0 steps")

        def shape(objective: Objective, model: Any, batch: Batch) -> torch.Tensor:
            first, second = objective.forward(model, batch), objective.forward(model, batch)
            problem = model.config.problem_type
            divergence = output_divergence(first, second, batch, problem=problem) + output_divergence(
                second, first, batch, problem=problem
            )
            task_loss = objective.criterion(first, batch) + objective.criterion(second, batch)
            return (task_loss + self.agreement * divergence) / 2

        model = copy_for_training(candidate, head_first=self.head_first)
        rate = resolve(self.learning_rate, model)
        schedule = Schedule(learning_rate=rate, epochs=self.epochs, batch_size=self.batch_size)
        losses = fit(replace(candidate, shaper=shape), model, schedule, effort=effort, seed=seed)
        return candidate.evolve(f"R-Drop, {len(losses)} steps", model=model)
