"""A small bottleneck that stands after a transformer layer and learns in its place."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from autoopt.strategies.networks.architectures import layers


class Bottleneck(nn.Module):
    """Adds what two thin matrices make of the states, (..., width); begins as nothing, since the second one is zero."""

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
    """Put one after each layer of ``model``, and return them."""
    added: list[nn.Module] = []
    for layer in layers(model):
        made = Bottleneck(model.config.hidden_size, inner).to(model.device).eval()
        layer.add_module("bottleneck", made)
        layer.register_forward_hook(_through)
        added.append(made)
    return added


def _through(layer: Any, _: Any, output: Any) -> Any:
    """The layer's output with its own bottleneck's share; a copy of the layer has a bottleneck of its own."""
    if isinstance(output, tuple):
        return (layer.bottleneck(output[0]), *output[1:])
    return layer.bottleneck(output)
