"""Train all weights on the labelled examples (Devlin et al. 2019, "BERT")."""

from __future__ import annotations

from typing import Annotated

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import Schedule, fit


class FullFinetuning(Strategy):
    """Every parameter learns: the best quality of all adaptations, and the slowest.

    ``learning_rate``: small encoders (MiniLM) like 1e-4 to 2e-4, large ones (BERT-base and up) 2e-5 to 5e-5.
    ``epochs``: the fewer examples, the more; with some hundreds 3 are enough, with many thousands 2.
    """

    trains = True
    standard = True

    learning_rate: Annotated[float, Choice(2e-5, 5e-5, 1e-4, 2e-4)] = 2e-4
    epochs: Annotated[int, Choice(2, 3, 5)] = 3
    batch_size: int = 16

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("full fine-tuning, 0 steps")
        model = candidate.copy_model()
        schedule = Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size)
        losses = fit(candidate, model, schedule, effort=effort, seed=seed)
        return candidate.evolve(f"full fine-tuning, {len(losses)} steps", model=model)
