"""Train the biases and the head only (Ben Zaken et al. 2022, "BitFit")."""

from __future__ import annotations

from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.heads import head_parameters, train_only
from autoopt.strategies.networks.solved_head import copy_for_training
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.loop import Schedule, fit


class BitFit(Strategy):
    """Trains 0.1 % of the weights, so it forgets and overfits little. Worth it if examples are few.

    - ``learning_rate``: ten times that of full fine-tuning.
    - ``epochs``: about twice as many.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"biases"})
    trains = True

    learning_rate: Annotated[float, Choice(5e-4, 1e-3, 2e-3)] = 1e-3
    epochs: Annotated[int, Choice(3, 5, 8)] = 5
    batch_size: int = 16
    head_first: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("BitFit, 0 steps")
        model = copy_for_training(candidate, head_first=self.head_first)
        biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
        train_only(model, [*biases, *head_parameters(model)])
        schedule = Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size)
        losses = fit(candidate, model, schedule, effort=effort, seed=seed)
        model.requires_grad_(True)
        return candidate.evolve(f"BitFit, {len(losses)} steps", model=model)
