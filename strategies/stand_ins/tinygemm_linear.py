"""A linear layer whose weights stay in 4 bits while it computes, by torch's kernel tinygemm.

Its state is plain tensors. A token that is written multiplies each weight once, so that it takes as long as reading
the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

GROUP = 32
"""Number of inputs that share a scale; the smallest that the kernel has, and the most accurate."""
OUTPUTS = 16
"""The kernel wants a multiple of this many outputs."""
LARGEST, MIDDLE = 15, 8


class TinygemmLinear(nn.Module):
    """Stands in for ``nn.Linear`` on a CPU; computes in bfloat16, which it converts from and to the input's type.

    Each ``GROUP`` of inputs of each output has its own scale and zero point. ``codes`` holds two weights in a byte, the
    inputs of even places in the lower half; inputs and outputs are filled up with zeros to what the kernel wants.
    """

    codes: torch.Tensor
    """(padded outputs, padded inputs / 2), uint8"""
    scales: torch.Tensor
    """(padded inputs / GROUP, padded outputs, 2): scale, and the weight of the code 8. They are the bits of
    bfloat16 as int16, which stay as they are if a model is cast."""
    bias: torch.Tensor | None
    weight = None
    """T5 asks each of its layers for the type of its weights."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self._packed: Any = None
        rows, columns = _multiple(outputs, OUTPUTS), _multiple(inputs, GROUP)
        self.register_buffer("codes", torch.zeros(rows, columns // 2, dtype=torch.uint8))
        self.register_buffer("scales", torch.zeros(columns // GROUP, rows, 2, dtype=torch.int16))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    @classmethod
    def of(cls, linear: nn.Linear) -> TinygemmLinear:
        """Quantize the weights of ``linear`` to the nearest of 16 values from the least to the greatest of a group."""
        outputs, inputs = linear.weight.shape
        quantized = cls(inputs, outputs, bias=linear.bias is not None)
        rows, columns = len(quantized.codes), 2 * quantized.codes.shape[1]
        weight = F.pad(linear.weight.detach().float(), (0, columns - inputs, 0, rows - outputs))
        groups = weight.view(rows, -1, GROUP)
        low, high = groups.amin(-1), groups.amax(-1)
        # Rounded as the kernel reads them, so that the codes fit.
        scale = ((high - low) / LARGEST).clamp_min(1e-8).bfloat16().float()
        middle = (low + MIDDLE * scale).bfloat16().float()
        codes = (((groups - middle[..., None]) / scale[..., None]).round() + MIDDLE).clamp(0, LARGEST)
        codes = codes.view(rows, columns).to(torch.uint8)
        quantized.codes.copy_(codes[:, 0::2] | codes[:, 1::2] << 4)
        scales = torch.stack([scale, middle], dim=-1).transpose(0, 1).bfloat16().contiguous()
        quantized.scales.copy_(scales.view(torch.int16))
        if quantized.bias is not None:
            quantized.bias.copy_(linear.bias.detach())
        return quantized

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return outputs of shape (..., outputs) for inputs of shape (..., inputs)."""
        if self._packed is None:
            codes = torch.ops.aten._convert_weight_to_int4pack_for_cpu(self._unpacked_codes(), 1)
            self._packed = codes, self.scales.view(torch.bfloat16)
        packed, scales = self._packed
        rows = inputs.reshape(-1, inputs.shape[-1]).bfloat16()
        if missing := 2 * self.codes.shape[1] - self.inputs:
            rows = F.pad(rows, (0, missing))
        outputs: torch.Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, packed, GROUP, scales)
        outputs = outputs[:, : self.outputs].to(inputs.dtype)
        if self.bias is not None:
            outputs = outputs + self.bias.to(inputs.dtype)
        return outputs.reshape(*inputs.shape[:-1], self.outputs)

    def dequantized(self) -> torch.Tensor:
        """Return the weights that the codes stand for, (outputs, inputs), in fp32."""
        codes = self._unpacked_codes().float().view(len(self.codes), -1, GROUP)
        scale, middle = (
            part.transpose(0, 1)[..., None].float() for part in self.scales.view(torch.bfloat16).unbind(-1)
        )
        return ((codes - MIDDLE) * scale + middle).flatten(1)[: self.outputs, : self.inputs]

    def _unpacked_codes(self) -> torch.Tensor:
        return torch.stack([self.codes & 15, self.codes >> 4], dim=-1).flatten(1).to(torch.int32)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed = None
        super()._load_from_state_dict(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> TinygemmLinear:
        """Return a copy without the kernel's own tensors, which cannot be copied."""
        copy = TinygemmLinear(self.inputs, self.outputs, bias=self.bias is not None)
        copy.load_state_dict({name: tensor.clone() for name, tensor in self.state_dict().items()})
        memo[id(self)] = copy
        return copy


def _multiple(count: int, of: int) -> int:
    return (count + of - 1) // of * of
