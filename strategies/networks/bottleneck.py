"""A small residual bottleneck after a transformer layer, trained in its place."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from autoopt.strategies.networks.architectures import layers


class Bottleneck(nn.Module):
    """Residual two-layer adapter of states (..., width); the identity at first, since ``up`` is zero."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, inner)
        self.up = nn.Linear(inner, width)
        nn.init.normal_(self.down.weight, std=0.01)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states + self.up(F.gelu(self.down(states)))  # type: ignore[no-any-return]


def add_bottlenecks(model: Any, inner: int) -> list[nn.Module]:
    """Add a bottleneck after each layer of ``model`` and return them all."""
    added: list[nn.Module] = []
    for layer in layers(model):
        bottleneck = Bottleneck(model.config.hidden_size, inner).to(model.device).eval()
        layer.add_module("bottleneck", bottleneck)
        layer.register_forward_hook(_apply_bottleneck)
        added.append(bottleneck)
    return added


def _apply_bottleneck(layer: Any, _: Any, output: Any) -> Any:
    """Apply the layer's own bottleneck to its output, so that a copied layer uses its copy."""
    if isinstance(output, tuple):
        return (layer.bottleneck(output[0]), *output[1:])
    return layer.bottleneck(output)
