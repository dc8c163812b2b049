"""What lies above a model's transformer layers: its pooler and its task head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def head_parameters(model: Any) -> list[nn.Parameter]:
    """The parameters of the pooler, where the base model has one, and of all that is outside the base model."""
    pooler = getattr(model.base_model, "pooler", None)
    above = {id(parameter) for parameter in (pooler.parameters() if pooler is not None else ())}
    below = {id(parameter) for parameter in model.base_model.parameters()} - above
    return [parameter for parameter in model.parameters() if id(parameter) not in below]


def train_only(model: Any, parameters: list[nn.Parameter]) -> None:
    """Let ``parameters`` require a gradient and no others."""
    model.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)


def reads_first_token(model: Any) -> bool:
    """True where the head answers for a whole text and reads nothing but the state of its first token."""
    return type(model).__name__.endswith("ForSequenceClassification")
