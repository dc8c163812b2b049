"""A linear layer that stores its nonzero weights and a bit mask of their positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.networks.architectures import replace_module
from autoopt.strategies.stand_ins.unpacked_linear import UnpackedLinear

BITS = 8


class SparseLinear(UnpackedLinear):
    """Replaces ``nn.Linear``; nonzero weights can be trained and zeros stay zero.

    It multiplies densely: CPU kernels gain nothing from unstructured zeros.
    """

    values: nn.Parameter
    places: torch.Tensor

    def __init__(self, inputs: int, outputs: int, *, bias: bool, kept: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.outputs = outputs
        self.values = nn.Parameter(torch.zeros(kept))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.register_buffer("places", torch.zeros(-(-inputs * outputs // BITS), dtype=torch.uint8))

    @classmethod
    def of(cls, linear: nn.Linear, kept: torch.Tensor) -> SparseLinear:
        """Return ``linear`` with the weights at which the mask ``kept`` is True."""
        outputs, inputs = linear.weight.shape
        sparse = cls(inputs, outputs, bias=linear.bias is not None, kept=int(kept.sum()))
        sparse.places.copy_(_packed(kept.flatten()))
        sparse.values = nn.Parameter(linear.weight.detach()[kept].clone())
        if linear.bias is not None:
            sparse.bias = nn.Parameter(linear.bias.detach().clone())
        return sparse.to(linear.weight.device)

    def unpacked(self) -> torch.Tensor:
        where = _unpacked(self.places, self.inputs * self.outputs)
        dense = torch.zeros(self.inputs * self.outputs, device=self.values.device, dtype=self.values.dtype)
        return dense.masked_scatter(where, self.values).view(self.outputs, self.inputs)

    def extra_repr(self) -> str:
        return f"in_features={self.inputs}, out_features={self.outputs}, kept={self.values.numel()}"


def _packed(flags: torch.Tensor) -> torch.Tensor:
    """Pack eight flags into a byte, the first in the lowest bit."""
    padded = F.pad(flags.to(torch.uint8), (0, -flags.numel() % BITS)).view(-1, BITS)
    return (padded << torch.arange(BITS, dtype=torch.uint8, device=flags.device)).sum(1).to(torch.uint8)


def _unpacked(packed: torch.Tensor, count: int) -> torch.Tensor:
    bits = packed[:, None] >> torch.arange(BITS, dtype=torch.uint8, device=packed.device) & 1
    return bits.flatten()[:count].bool()


def kept_of(scores: torch.Tensor, keep: float, pattern: str) -> torch.Tensor:
    """Return the mask of the highest scores, (outputs, inputs), in each row or of every 4 neighbours 2."""
    if pattern == "2:4":
        four = scores.view(scores.shape[0], -1, 4)
        return torch.zeros_like(four).scatter(-1, four.topk(2).indices, 1.0).bool().view_as(scores)
    count = max(1, round(keep * scores.shape[1]))
    return torch.zeros_like(scores).scatter(-1, scores.topk(count).indices, 1.0).bool()


def recorded(candidate: Candidate, model: Any, *, strategy: str) -> Candidate:
    """Return the candidate with ``model``, whose sparse layers are recorded as an edit."""
    kept = {path: part.values.numel() for path, part in model.named_modules() if isinstance(part, SparseLinear)}
    edit = {"strategy": strategy, "kept": kept}
    event = f"zeros in {len(kept)} linear layers, {sum(kept.values()):,} weights left in them"
    return candidate.evolve(event, model=model, edits=(*candidate.edits, edit))


def reshaped(model: Any, edit: Mapping[str, Any]) -> Any:
    """Return the model with the sparse layers that ``recorded`` stored, without weights."""
    for path, kept in edit["kept"].items():
        linear = model.get_submodule(path)
        outputs, inputs = linear.weight.shape
        replace_module(model, path, SparseLinear(inputs, outputs, bias=linear.bias is not None, kept=kept))
    return model
