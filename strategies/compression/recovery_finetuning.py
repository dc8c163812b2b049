"""Train the pruned model on the labelled examples (Sajjad et al. 2023, "On the effect of dropping layers")."""

from __future__ import annotations

from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.loop import Schedule, fit


class RecoveryFinetuning(Strategy):
    """Plain training after the cuts. Without a preceding adaptation it is "cut first", the cheapest small model.

    - ``learning_rate``: as for full fine-tuning; higher if more was cut.
    - ``epochs``: more than for a trunk, since a smaller model trains faster and has more to recover.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"cut"})
    excludes: ClassVar[frozenset[str]] = frozenset({"distillation"})
    recovers = True
    trains = True
    standard = True

    learning_rate: Annotated[float, Choice(5e-5, 1e-4, 2e-4, 4e-4)] = 2e-4
    epochs: Annotated[int, Choice(3, 5, 8)] = 5
    batch_size: int = 16

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("recovery fine-tuning, 0 steps")
        model = candidate.copy_model()
        schedule = Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size)
        losses = fit(candidate, model, schedule, effort=effort, seed=seed)
        return candidate.evolve(f"recovery fine-tuning, {len(losses)} steps", model=model)
