"""The parts of a model above its transformer layers: pooler and task head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.strategies.networks.architectures import layers
from autoopt.strategies.networks.pooling import pooling_of

if TYPE_CHECKING:
    from torch import nn


def head_parameters(model: Any) -> list[nn.Parameter]:
    """Return the parameters of the pooler, if there is one, and of all modules outside the base model."""
    pooler = getattr(model.base_model, "pooler", None)
    above = {id(parameter) for parameter in (pooler.parameters() if pooler is not None else ())}
    below = {id(parameter) for parameter in model.base_model.parameters()} - above
    return [parameter for parameter in model.parameters() if id(parameter) not in below]


def train_only(model: Any, parameters: list[nn.Parameter]) -> None:
    """Make ``parameters`` the only ones that require a gradient."""
    model.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)


def rates_by_depth(model: Any, decay: float) -> dict[float, list[nn.Parameter]]:
    """Group all parameters by ``decay`` to the power of the number of layers above them; embeddings are lowest.

    The factor is 1 for the last layer and everything above it.
    """
    present = list(layers(model))
    depth = {id(parameter): len(present) for parameter in model.parameters()}
    depth |= {id(parameter): 0 for parameter in head_parameters(model)}
    for above, layer in enumerate(reversed(present)):
        depth |= {id(parameter): above for parameter in layer.parameters()}
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        groups.setdefault(decay ** depth[id(parameter)], []).append(parameter)
    return groups


def reads_first_token(model: Any) -> bool:
    """Return whether the head classifies whole texts, from the state of the first token alone."""
    return answers_whole_texts(model) and pooling_of(model) in (None, "first")


def answers_whole_texts(model: Any) -> bool:
    """Return whether the head has one answer for each text, rather than one for each token."""
    return type(model).__name__.endswith("ForSequenceClassification")
