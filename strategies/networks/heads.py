"""What lies above a model's transformer layers: its pooler and its task head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.strategies.networks.architectures import layers

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


def rates_by_depth(model: Any, decay: float) -> dict[float, list[nn.Parameter]]:
    """All parameters, by ``decay`` to the power of the number of layers above theirs; the embeddings lie lowest.

    The last layer and what lies above it have 1.
    """
    present = list(layers(model))
    depth = {id(parameter): len(present) for parameter in model.parameters()}
    depth |= {id(parameter): 0 for parameter in head_parameters(model)}
    for above, layer in enumerate(reversed(present)):
        depth |= {id(parameter): above for parameter in layer.parameters()}
    found: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        found.setdefault(decay ** depth[id(parameter)], []).append(parameter)
    return found


def reads_first_token(model: Any) -> bool:
    """True where the head answers for a whole text and reads nothing but the state of its first token."""
    return type(model).__name__.endswith("ForSequenceClassification")
