"""Train all weights on the labelled examples (Devlin et al. 2019, "BERT")."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.heads import rates_by_depth
from autoopt.strategies.networks.solved_head import copy_for_training
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.learning_rates import AUTO, LearningRate, resolve
from autoopt.strategies.training.loop import Schedule, fit


class FullFinetuning(Strategy):
    """Trains every parameter: the best quality of all adaptations, and the slowest.

    As in every training on the task's examples, the last weights are kept unless earlier ones were clearly better on
    the validation data.

    - ``learning_rate``: ``auto`` follows from the size of the model; 1e-4 to 2e-4 suit small encoders (MiniLM), 2e-5 to
      5e-5 BERT-base and larger.
    - ``epochs``: 3 for a few hundred examples, 2 for many thousands.
    - ``layer_decay``: learning rate of each layer relative to the layer above; 0.9 helps deep models with few examples
      (Zhang et al. 2021).
    - ``accumulation``: number of parts a batch is split into; less memory, more time.
    - ``gradient_checkpointing``: recompute activations in the backward pass; less memory, more time.
    """

    trains = True
    standard = True

    learning_rate: Annotated[LearningRate, Choice(AUTO, 2e-5, 5e-5, 1e-4, 2e-4)] = AUTO
    epochs: Annotated[int, Choice(2, 3, 5)] = 3
    batch_size: int = Field(default=16, ge=1)
    accumulation: int = Field(default=1, ge=1)
    layer_decay: Annotated[float, Choice(0.8, 0.9, 1.0)] = Field(default=1.0, gt=0, le=1)
    warmup: float = Field(default=0.1, ge=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0)
    gradient_checkpointing: bool = False
    head_first: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("full fine-tuning, 0 steps")
        model: Any = copy_for_training(candidate, head_first=self.head_first)
        rate = resolve(self.learning_rate, model)
        schedule = Schedule(
            learning_rate=rate,
            epochs=self.epochs,
            batch_size=self.batch_size,
            accumulation=self.accumulation,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
        )
        groups = None
        if self.layer_decay < 1:
            groups = [
                {"params": parameters, "lr": rate * share}
                for share, parameters in rates_by_depth(model, self.layer_decay).items()
            ]
        if self.gradient_checkpointing:
            model.activation_checkpointing_enable()
        losses = fit(candidate, model, schedule, effort=effort, seed=seed, parameters=groups)
        if self.gradient_checkpointing:
            model.activation_checkpointing_disable()
        return candidate.evolve(f"full fine-tuning, {len(losses)} steps", model=model)
