"""Train small additions to a frozen model with peft and merge them into its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.networks.heads import head_parameters
from autoopt.strategies.networks.solved_head import copy_for_training
from autoopt.strategies.training.loop import Schedule, fit

if TYPE_CHECKING:
    from peft import PeftConfig


def train_and_merge(
    candidate: Candidate, settings: PeftConfig, schedule: Schedule, *, effort: float, seed: int, head_first: bool
) -> tuple[Any, int]:
    """Return the merged model and the number of steps; pooler and task head are trained in full.

    ``head_first`` solves for the head before.
    """
    import torch
    from peft import PEFT_TYPE_TO_TUNER_MAPPING

    model = copy_for_training(candidate, head_first=head_first)
    head = head_parameters(model)
    torch.manual_seed(seed)
    if settings.peft_type is None:
        raise ValueError(f"{settings} has no peft type")
    adapted = PEFT_TYPE_TO_TUNER_MAPPING[settings.peft_type](model, {"default": settings}, "default")
    for parameter in head:
        parameter.requires_grad_(True)
    losses = fit(candidate, adapted, schedule, effort=effort, seed=seed)
    return adapted.merge_and_unload().requires_grad_(True).eval(), len(losses)
