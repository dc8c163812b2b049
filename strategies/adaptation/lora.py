"""Train low-rank updates of the weights, then merge them (Hu et al. 2022, "LoRA")."""

from __future__ import annotations

from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.architectures import linear_paths
from autoopt.strategies.networks.peft_adapters import train_and_merge
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.loop import Schedule


class LoRA(Strategy):
    """Weights stay close to the pretrained ones, which helps with few examples; pooler and head are trained in full.

    - ``rank``: 8 for a task close to the pretraining, 32 for one far from it.
    - ``targets``: ``all`` linear layers adapt better than the ``attention`` projections alone, for a fifth more time.
    - ``learning_rate``: five to ten times that of full fine-tuning.
    - ``epochs``: about twice as many as for full fine-tuning.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"linear layers"})
    trains = True
    standard = True

    rank: Annotated[int, Choice(8, 16, 32)] = 16
    targets: Annotated[str, Choice("attention", "all")] = "all"
    learning_rate: Annotated[float, Choice(5e-4, 1e-3, 2e-3)] = 1e-3
    epochs: Annotated[int, Choice(3, 5, 8)] = 5
    batch_size: int = 16
    head_first: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve(f"LoRA of rank {self.rank}, 0 steps")
        from peft import LoraConfig

        targets = linear_paths(candidate.model, attention_only=self.targets == "attention")
        settings = LoraConfig(r=self.rank, lora_alpha=self.rank, target_modules=targets)
        schedule = Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size)
        model, steps = train_and_merge(
            candidate, settings, schedule, effort=effort, seed=seed, head_first=self.head_first
        )
        return candidate.evolve(f"LoRA of rank {self.rank}, {steps} steps", model=model)
