"""What lies above a model's transformer layers: its pooler and its task head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.strategies.encoder import layers

if TYPE_CHECKING:
    from torch import nn


def head_parameters(model: Any) -> list[nn.Parameter]:
    """The parameters outside the embeddings and the transformer layers."""
    below = [*model.base_model.embeddings.parameters(), *layers(model).parameters()]
    known = {id(parameter) for parameter in below}
    return [parameter for parameter in model.parameters() if id(parameter) not in known]


def train_only(model: Any, parameters: list[nn.Parameter]) -> None:
    """Let ``parameters`` require a gradient and no others."""
    model.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
