"""LoRA scaled by the square root of its rank (Kalajdzievski 2023, "Rank stabilization scaling factor")."""

from __future__ import annotations

from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.architectures import linear_paths
from autoopt.strategies.networks.peft_adapters import train_and_merge
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.loop import Schedule


class RankStabilizedLoRA(Strategy):
    """LoRA whose high ranks learn as fast as low ones. Worth it for tasks far from the pretraining.

    - ``rank``: differs from LoRA at 32 and above.
    - ``learning_rate``: about half that of LoRA.
    - ``epochs``: as for LoRA.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"linear layers"})
    trains = True

    rank: Annotated[int, Choice(32, 64, 128)] = 64
    learning_rate: Annotated[float, Choice(1e-4, 2e-4, 5e-4)] = 2e-4
    epochs: Annotated[int, Choice(3, 5, 8)] = 5
    batch_size: int = 16
    head_first: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve(f"rank-stabilized LoRA of rank {self.rank}, 0 steps")
        from peft import LoraConfig

        targets = linear_paths(candidate.model)
        settings = LoraConfig(r=self.rank, lora_alpha=self.rank, target_modules=targets, use_rslora=True)
        schedule = Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size)
        model, steps = train_and_merge(
            candidate, settings, schedule, effort=effort, seed=seed, head_first=self.head_first
        )
        return candidate.evolve(f"rank-stabilized LoRA of rank {self.rank}, {steps} steps", model=model)
