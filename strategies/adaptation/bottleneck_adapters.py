"""Train a small bottleneck after each layer of a frozen model (Houlsby et al. 2019, "Parameter-efficient transfer").

One adapter per layer, placed as by Pfeiffer et al. (2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.networks.heads import head_parameters, train_only
from autoopt.strategies.networks.solved_head import copy_for_training
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training.loop import Schedule, fit


class BottleneckAdapters(Strategy):
    """Adapters beside frozen pretrained weights, so little is forgotten; pooler and task head are trained in full.

    Worth it if examples are few and LoRA falls short. Unlike LoRA, adapters cannot be merged: they add a few percent to
    the latency, and the saved model needs autoopt to be opened.

    - ``inner``: width of the bottlenecks; 64 comes close to full fine-tuning.
    - ``learning_rate``: as for LoRA.
    - ``epochs``: about twice as many as for full fine-tuning.
    """

    trains = True

    inner: Annotated[int, Choice(16, 64)] = 64
    learning_rate: Annotated[float, Choice(5e-4, 1e-3, 2e-3)] = 1e-3
    epochs: Annotated[int, Choice(3, 5, 8)] = 5
    batch_size: int = 16
    head_first: bool = True

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        import torch

        from autoopt.strategies.networks.bottleneck import add_bottlenecks

        model: Any = copy_for_training(candidate, head_first=self.head_first and effort > 0)
        torch.manual_seed(seed)
        adapters = add_bottlenecks(model, self.inner)
        train_only(
            model, [*(weight for adapter in adapters for weight in adapter.parameters()), *head_parameters(model)]
        )
        schedule = Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size)
        losses = fit(candidate, model, schedule, effort=effort, seed=seed) if effort > 0 else []
        model.requires_grad_(True)
        edit = {"strategy": self.name, "inner": self.inner}
        event = f"bottleneck adapters of width {self.inner}, {len(losses)} steps"
        return candidate.evolve(event, model=model, edits=(*candidate.edits, edit))

    @classmethod
    def reshapes(cls) -> bool:
        return True

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        from autoopt.strategies.networks.bottleneck import add_bottlenecks

        add_bottlenecks(model, edit["inner"])
        return model
