"""Train low-rank additions to the weights, then merge them (Hu et al. 2022, "LoRA")."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.encoder import layers, layout
from autoopt.strategies.heads import head_parameters
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.training import Schedule, train


class LoRA(Strategy):
    """The weights stay near the pretrained ones, which helps with few examples; pooler and task head train in full.

    ``rank``: 8 for a task near the pretraining, 32 for one far from it. ``targets``: all linear layers learn more than
    the attention's projections alone and cost a fifth more time. ``learning_rate``: five to ten times that of full
    fine-tuning. ``epochs``: about twice as many.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    trains = True

    rank: Annotated[int, Choice(8, 16, 32)] = 16
    targets: Annotated[str, Choice("attention", "all")] = "all"
    learning_rate: Annotated[float, Choice(5e-4, 1e-3, 2e-3)] = 1e-3
    epochs: Annotated[int, Choice(3, 5, 8)] = 5
    batch_size: int = 16

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve(f"LoRA of rank {self.rank}, 0 steps")
        import torch
        from peft import LoraConfig, LoraModel

        model = candidate.copy_model()
        head = head_parameters(model)
        torch.manual_seed(seed)
        settings = LoraConfig(r=self.rank, lora_alpha=self.rank, target_modules=_targets(model, self.targets))
        adapted = LoraModel(model, {"default": settings}, "default")
        for parameter in head:
            parameter.requires_grad_(True)
        losses = train(
            adapted,
            candidate.features(),
            Schedule(learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size),
            pad_token_id=candidate.tokenizer.pad_token_id,
            effort=effort,
            seed=seed,
        )
        merged = adapted.merge_and_unload().requires_grad_(True).eval()
        return candidate.evolve(f"LoRA of rank {self.rank}, {len(losses)} steps", model=merged)


def _targets(model: Any, targets: str) -> list[str]:
    """Full paths of the linear layers to adapt."""
    from torch import nn

    inner = {id(module) for module in layers(model).modules() if isinstance(module, nn.Linear)}
    ends = layout(model).attention_inputs
    return [
        path
        for path, module in model.named_modules()
        if id(module) in inner and (targets == "all" or path.endswith(ends))
    ]
