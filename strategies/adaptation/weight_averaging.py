"""Fine-tune in full and average the weights of the last steps (Izmailov et al. 2018, "Averaging weights")."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.solved_head import copy_for_training
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.learning_rates import AUTO, LearningRate, resolve
from autoopt.strategies.training.loop import Schedule, fit


class WeightAveraging(Strategy):
    """The averaged weights lie in a flatter minimum than the last ones; costs a few percent more time.

    - ``share``: share of the steps, from the end, over which weights are averaged.
    - ``learning_rate``, ``epochs``: as for full fine-tuning, at the upper end.
    """

    trains = True

    share: Annotated[float, Choice(0.25, 0.5)] = 0.5
    learning_rate: Annotated[LearningRate, Choice(AUTO, 5e-5, 1e-4, 2e-4)] = AUTO
    epochs: Annotated[int, Choice(3, 5)] = 3
    batch_size: int = 16
    head_first: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("weight averaging, 0 steps")
        from torch.optim.swa_utils import AveragedModel

        model = copy_for_training(candidate, head_first=self.head_first)
        average = AveragedModel(model)

        def collect(step: int, steps: int) -> None:
            if step > (1 - self.share) * steps:
                average.update_parameters(model)

        rate = resolve(self.learning_rate, model)
        schedule = Schedule(learning_rate=rate, epochs=self.epochs, batch_size=self.batch_size)
        alone = replace(candidate, monitor=None)  # No weights of a single step are kept.
        losses = fit(alone, model, schedule, effort=effort, seed=seed, before_step=collect, extra_modules=[average])
        average.update_parameters(model)
        averaged = average.module.requires_grad_(True).eval()
        return candidate.evolve(f"weight averaging, {len(losses)} steps", model=averaged)
