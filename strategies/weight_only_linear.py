"""A linear layer whose weights are stored in 8 or 4 bits and unpacked at their first use."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class WeightOnlyLinear(nn.Module):
    """Stands in for ``nn.Linear`` where the file is to be small and the arithmetic to stay as it is.

    Each ``group`` of inputs of each output has a scale of its own. ``packed`` holds two 4-bit numbers in a byte, the
    even inputs in the lower half.
    """

    packed: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, inputs: int, outputs: int, *, bias: bool, bits: int, group: int) -> None:
        super().__init__()
        self.bits = bits
        self.group = group
        self._dense: torch.Tensor | None = None
        stored = inputs if bits == 8 else inputs // 2
        self.register_buffer("packed", torch.zeros(outputs, stored, dtype=torch.int8 if bits == 8 else torch.uint8))
        self.register_buffer("scale", torch.ones(outputs, inputs // group))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    @classmethod
    def of(cls, linear: nn.Linear, *, bits: int, group: int) -> WeightOnlyLinear:
        """Round the weights of ``linear`` to the nearest of -2^(bits-1)+1 ... 2^(bits-1)-1 times their scale."""
        outputs, inputs = linear.weight.shape
        group = fitting_group(inputs, group)
        made = cls(inputs, outputs, bias=linear.bias is not None, bits=bits, group=group)
        largest = 2 ** (bits - 1) - 1
        weight = linear.weight.detach().float().view(outputs, -1, group)
        made.scale.copy_(weight.abs().amax(-1).clamp_min(1e-8) / largest)
        rounded = (weight / made.scale[..., None]).round().clamp(-largest, largest).view(outputs, inputs)
        if bits == 8:
            made.packed.copy_(rounded)
        else:
            codes = (rounded + 8).to(torch.uint8)
            made.packed.copy_(codes[:, 0::2] | codes[:, 1::2] << 4)
        if made.bias is not None:
            made.bias.copy_(linear.bias.detach())
        return made.to(linear.weight.device)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self._dense is None or self._dense.device != inputs.device:
            self._dense = self._unpacked()
        return F.linear(inputs, self._dense, self.bias)

    def _unpacked(self) -> torch.Tensor:
        if self.bits == 8:
            numbers = self.packed.float()
        else:
            halves = torch.stack([self.packed & 15, self.packed >> 4], dim=-1)
            numbers = halves.flatten(1).float() - 8
        return (numbers.view(*self.scale.shape, self.group) * self.scale[..., None]).flatten(1)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._dense = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """What deepcopy takes along: not the unpacked weights, which are made again."""
        return {**self.__dict__, "_dense": None}

    def extra_repr(self) -> str:
        return f"out_features={self.packed.shape[0]}, bits={self.bits}, group={self.group}"


def fitting_group(inputs: int, group: int) -> int:
    """The largest even number that divides ``inputs`` and is ``group`` at most; all of them where none does."""
    return next((size for size in range(min(group, inputs), 1, -1) if inputs % size == 0 and size % 2 == 0), inputs)


def replace_linears(model: Any, paths: list[str], *, bits: int, group: int, blank: bool) -> None:
    """Put such a layer in the place of each linear layer at ``paths``; ``blank`` gives the shapes alone."""
    from autoopt.strategies.encoder import replace_module

    for path in paths:
        linear = model.get_submodule(path)
        if not blank:
            replace_module(model, path, WeightOnlyLinear.of(linear, bits=bits, group=group))
            continue
        outputs, inputs = linear.weight.shape
        size = fitting_group(inputs, group)
        made = WeightOnlyLinear(inputs, outputs, bias=linear.bias is not None, bits=bits, group=size)
        replace_module(model, path, made)
