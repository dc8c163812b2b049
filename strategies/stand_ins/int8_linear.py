"""A linear layer with 8-bit weights and activations, quantized at run time; its state is plain tensors."""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import Any

import torch
from torch import nn

LARGEST = 63
"""Weights use 7 of their 8 bits, activations all 8. Without VNNI the kernels add two products in 16 bits, and two of
127 * 255 do not fit: a layer of equal weights then returns half of the right value. Mean cosine to fp32 of MiniLM's
embeddings of 100 news texts: 7-bit activations 0.981, 7-bit weights 0.993, and 8 bits each, where few sums overflowed,
0.994. So weights have 7 bits on every CPU, and a model returns the same wherever it serves."""
_STEPS = 254
"""Steps between the least and the greatest activation: with the zero point rounded up, codes lie in [0, 255]."""
_OFFSET = 128
"""Difference of unsigned and signed codes: oneDNN reads unsigned activations, ``torch._int_mm`` signed ones."""


class Int8Linear(nn.Module):
    """Stands in for ``nn.Linear`` on a CPU.

    ``qweight``, ``wscale`` and ``bias`` are buffers that safetensors can hold. Activations are quantized between the
    least and the greatest of the batch. With ``per_token`` each row is scaled by its largest value before, so that an
    outlier costs precision in its own row only.
    """

    qweight: torch.Tensor
    wscale: torch.Tensor
    bias: torch.Tensor | None
    weight = None
    """T5 asks each of its layers for the type of its weights."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, per_token: bool) -> None:
        super().__init__()
        self.per_token = per_token
        self._packed: Any = None
        self.register_buffer("qweight", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("wscale", torch.ones(outputs))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    @classmethod
    def of(cls, linear: nn.Linear, *, per_token: bool) -> Int8Linear:
        """Quantize the weights of ``linear``, each output channel with its own scale."""
        outputs, inputs = linear.weight.shape
        quantized = cls(inputs, outputs, bias=linear.bias is not None, per_token=per_token)
        weight = linear.weight.detach().float()
        quantized.wscale.copy_(weight.abs().amax(1).clamp_min(1e-8) / LARGEST)
        quantized.qweight.copy_((weight / quantized.wscale[:, None]).round().clamp(-LARGEST, LARGEST))
        if quantized.bias is not None:
            quantized.bias.copy_(linear.bias.detach())
        return quantized

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return outputs of shape (..., outputs) for inputs of shape (..., inputs), in fp32."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        if not len(rows):
            return inputs.new_zeros(*inputs.shape[:-1], len(self.wscale))
        if _has_fbgemm():
            try:
                outputs = self._fbgemm(rows)
            except RuntimeError:
                if bool(rows.isfinite().all()):
                    raise
                outputs = rows.new_full((len(rows), len(self.wscale)), math.nan)
        elif self.per_token:
            low, high = rows.amin(-1, keepdim=True), rows.amax(-1, keepdim=True)
            largest = torch.maximum(high, -low).clamp_min_(1e-8)
            step, zero = _step_and_zero(float((low / largest).min()), float((high / largest).max()))
            outputs = self._linear_int8(rows * largest.reciprocal().div_(step), step, zero, None).mul_(largest)
            if self.bias is not None:
                outputs.add_(self.bias)
        else:
            step, zero = _step_and_zero(*map(float, rows.aminmax()))
            outputs = self._linear_int8(rows * (1 / step), step, zero, self.bias)
        return outputs.view(*inputs.shape[:-1], outputs.shape[-1])

    def _fbgemm(self, rows: torch.Tensor) -> torch.Tensor:
        """Return outputs by the kernel of torch's dynamic quantization: the fastest within a model, while torch has it.

        In a BERT of MiniLM's size oneDNN takes 1.37 times as long at 1 x 16 tokens, 1.09 times at 1 x 128 (VNNI).
        """
        if self._packed is None:
            self._packed = _pack_for_fbgemm(self.qweight, self.wscale, None if self.per_token else self.bias)
        if not self.per_token:
            return torch.ops.quantized.linear_dynamic(rows, self._packed, reduce_range=False)  # type: ignore[no-any-return]
        scale = rows.abs().amax(-1, keepdim=True).clamp_min(1e-8)
        outputs = torch.ops.quantized.linear_dynamic(rows / scale, self._packed, reduce_range=False).mul_(scale)
        return outputs if self.bias is None else outputs.add_(self.bias)  # type: ignore[no-any-return]

    def _linear_int8(self, scaled: torch.Tensor, step: float, zero: int, bias: torch.Tensor | None) -> torch.Tensor:
        """Round ``scaled``, which is changed in place, multiply it with the weights and undo the scales."""
        # torch converts to int8 four times as fast as to uint8.
        codes = scaled.add_(zero - _OFFSET).round_().to(torch.int8)
        if self._packed is None:
            self._packed = self._pack()
        packed, correction = self._packed
        if _has_onednn():
            unsigned = codes.view(torch.uint8).bitwise_xor_(_OFFSET)
            return torch.ops.onednn.qlinear_pointwise(  # type: ignore[no-any-return]
                unsigned, step, zero, packed, self.wscale, correction, bias, 1.0, 0, torch.float32, "none", [], ""
            )
        outputs = torch._int_mm(codes, packed).add_(correction, alpha=_OFFSET - zero).float().mul_(self.wscale * step)
        return outputs if bias is None else outputs.add_(bias)

    def _pack(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weights as the kernel reads them with their zero points, without oneDNN with their column sums."""
        if _has_onednn():
            zeros = torch.zeros(len(self.wscale), dtype=torch.int32)
            return torch.ops.onednn.qlinear_prepack(self.qweight, None), zeros
        return self.qweight.t().contiguous(), self.qweight.sum(1, dtype=torch.int32)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the packed weights, which cannot be copied."""
        return {**self.__dict__, "_packed": None}

    def extra_repr(self) -> str:
        outputs, inputs = self.qweight.shape
        return f"in_features={inputs}, out_features={outputs}, per_token={self.per_token}"


def _step_and_zero(low: float, high: float) -> tuple[float, int]:
    """Return step and zero point of the codes 0 to 255 for values in [low, high]; NaN if a value is not finite."""
    low, high = min(low, 0.0), max(high, 0.0)
    if not math.isfinite(high - low):
        return math.nan, _OFFSET
    step = max(high - low, 1e-8) / _STEPS
    return step, int(1 - low / step)


def _pack_for_fbgemm(qweight: torch.Tensor, wscale: torch.Tensor, bias: torch.Tensor | None) -> Any:
    zeros = torch.zeros(len(wscale), dtype=torch.long)
    with warnings.catch_warnings():
        # torch announces the end of its quantized tensors; this kernel takes its weights in no other form.
        warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.*", category=UserWarning)
        weight = torch._make_per_channel_quantized_tensor(qweight, wscale.double(), zeros, 0)
        return torch.ops.quantized.linear_prepack(weight, bias)


@cache
def _has_fbgemm() -> bool:
    """Whether this build of torch still has the kernel of its dynamic quantization."""
    try:
        packed = _pack_for_fbgemm(torch.ones(1, 1, dtype=torch.int8), torch.ones(1), None)
        torch.ops.quantized.linear_dynamic(torch.ones(1, 1), packed, reduce_range=False)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return True


@cache
def _has_onednn() -> bool:
    """Whether this build of torch multiplies 8-bit integers with oneDNN."""
    try:
        packed = torch.ops.onednn.qlinear_prepack(torch.ones(1, 1, dtype=torch.int8), None)
        scale, zero, ones = torch.ones(1), torch.zeros(1, dtype=torch.int32), torch.ones(1, 1, dtype=torch.uint8)
        torch.ops.onednn.qlinear_pointwise(
            ones, 1.0, 0, packed, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return True
