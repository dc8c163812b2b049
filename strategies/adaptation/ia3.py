"""Train scaling factors of inner activations, then merge them (Liu et al. 2022, "Few-shot PEFT")."""

from __future__ import annotations

from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.architectures import layout, linear_paths
from autoopt.strategies.networks.peft_adapters import train_and_merge
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.loop import Schedule


class IA3(Strategy):
    """Scales keys, values and feed-forward activations: a few thousand weights, for very few examples.

    - ``learning_rate``: high, since the factors start at 1.
    - ``epochs``: many, since each changes little.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"linear layers"})
    trains = True

    learning_rate: Annotated[float, Choice(2e-3, 5e-3, 1e-2)] = 5e-3
    epochs: Annotated[int, Choice(5, 8, 12)] = 8
    batch_size: int = 16
    head_first: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("IA3, 0 steps")
        from peft import IA3Config

        module_names = layout(candidate.model)
        _, key, value = module_names.attention_inputs
        paths = linear_paths(candidate.model)
        scaled_outputs = [path for path in paths if path.endswith((key, value))]
        # BERT's attention has an ``output.dense`` too.
        scaled_inputs = [
            p for p in paths if p.endswith(module_names.ffn_out) and not p.endswith(module_names.attention_output)
        ]
        settings = IA3Config(target_modules=[*scaled_outputs, *scaled_inputs], feedforward_modules=scaled_inputs)
        schedule = Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size)
        model, steps = train_and_merge(
            candidate, settings, schedule, effort=effort, seed=seed, head_first=self.head_first
        )
        return candidate.evolve(f"IA3, {steps} steps", model=model)
