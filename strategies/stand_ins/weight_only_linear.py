"""A linear layer whose weights are stored in 8 or 4 bits and unpacked at their first use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.networks.architectures import linear_paths, replace_module
from autoopt.strategies.stand_ins.unpacked_linear import UnpackedLinear


class WeightOnlyLinear(UnpackedLinear):
    """Replaces ``nn.Linear`` to make the file smaller; the arithmetic stays floating point.

    Each ``group`` of inputs of each output has its own scale. With 4 bits ``packed`` holds two numbers in a byte,
    even inputs in the lower half.
    """

    packed: torch.Tensor
    scale: torch.Tensor

    def __init__(self, inputs: int, outputs: int, *, bias: bool, bits: int, group: int) -> None:
        super().__init__()
        self.bits = bits
        self.group = group
        stored = inputs if bits == 8 else (inputs + 1) // 2
        self.register_buffer("packed", torch.zeros(outputs, stored, dtype=torch.int8 if bits == 8 else torch.uint8))
        self.register_buffer("scale", torch.ones(outputs, inputs // group))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    @classmethod
    def of(cls, linear: nn.Linear, *, bits: int, group: int) -> WeightOnlyLinear:
        """Quantize the weights of ``linear`` to integers in [-2^(bits-1)+1, 2^(bits-1)-1] times their scale."""
        outputs, inputs = linear.weight.shape
        group = fitting_group(inputs, group)
        quantized = cls(inputs, outputs, bias=linear.bias is not None, bits=bits, group=group)
        largest = 2 ** (bits - 1) - 1
        weight = linear.weight.detach().float().view(outputs, -1, group)
        quantized.scale.copy_(weight.abs().amax(-1).clamp_min(1e-8) / largest)
        rounded = (weight / quantized.scale[..., None]).round().clamp(-largest, largest).view(outputs, inputs)
        if bits == 8:
            quantized.packed.copy_(rounded)
        else:
            codes = F.pad((rounded + 8).to(torch.uint8), (0, inputs % 2))
            quantized.packed.copy_(codes[:, 0::2] | codes[:, 1::2] << 4)
        if quantized.bias is not None:
            quantized.bias.copy_(linear.bias.detach())
        return quantized.to(linear.weight.device)

    def unpacked(self) -> torch.Tensor:
        if self.bits == 8:
            numbers = self.packed.float()
        else:
            halves = torch.stack([self.packed & 15, self.packed >> 4], dim=-1)
            numbers = halves.flatten(1)[:, : self.scale.shape[1] * self.group].float() - 8
        return (numbers.view(*self.scale.shape, self.group) * self.scale[..., None]).flatten(1)

    def extra_repr(self) -> str:
        return f"out_features={self.packed.shape[0]}, bits={self.bits}, group={self.group}"


def fitting_group(inputs: int, group: int) -> int:
    """Return the largest divisor of ``inputs`` in [8, ``group``]; ``inputs`` itself if there is none."""
    return next((size for size in range(min(group, inputs), 7, -1) if inputs % size == 0), inputs)


def packed(candidate: Candidate, *, strategy: str, bits: int, group: int) -> Candidate:
    """Return the candidate with the linear layers within its transformer layers replaced."""
    model = candidate.copy_model()
    paths = linear_paths(model)
    for path in paths:
        linear: Any = model.get_submodule(path)
        replace_module(model, path, WeightOnlyLinear.of(linear, bits=bits, group=group))
    edit = {"strategy": strategy, "modules": paths, "bits": bits, "group": group}
    event = f"{bits}-bit weights in {len(paths)} linear layers"
    return candidate.evolve(event, model=model, edits=(*candidate.edits, edit))


def reshaped(model: Any, edit: Mapping[str, Any]) -> Any:
    """Return the model with the layers that ``packed`` recorded, without weights."""
    for path in edit["modules"]:
        linear = model.get_submodule(path)
        outputs, inputs = linear.weight.shape
        group = fitting_group(inputs, edit["group"])
        quantized = WeightOnlyLinear(inputs, outputs, bias=linear.bias is not None, bits=edit["bits"], group=group)
        replace_module(model, path, quantized)
    return model
