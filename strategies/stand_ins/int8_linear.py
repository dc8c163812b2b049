"""A linear layer with 8-bit weights and activations, quantized at run time; its state is plain tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

LARGEST = 63
"""Weights use 7 of their 8 bits, activations all 8. Without VNNI the kernels add two products in 16 bits, and two of
127 * 255 do not fit: a layer of equal weights then answers half of what it should. The ways out, by mean cosine to
fp32 of MiniLM's embeddings of 100 news texts: 7-bit activations 0.981, 7-bit weights 0.993, and 8 bits each, where
little happened to overflow, 0.994. So 7-bit weights on every CPU, and a model answers the same wherever it serves."""
MANY_ROWS = 64
"""From this number of rows on oneDNN's linear kernel is faster than the plain integer product, which packs nothing
(``tests/benchmarks/int8_kernels.py``). Both multiply the same integers."""
_OFFSET = 128
"""oneDNN's kernel reads activations without a sign."""


class Int8Linear(nn.Module):
    """Stands in for ``nn.Linear`` on a CPU.

    ``qweight``, ``wscale`` and ``bias`` are buffers that safetensors can hold. Activations are scaled by their largest
    value in the batch, or with ``per_token`` in each row: outliers then cost nothing but their own row.
    """

    qweight: torch.Tensor
    wscale: torch.Tensor
    bias: torch.Tensor | None

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
        if self.per_token:
            scale = rows.abs().amax(-1, keepdim=True).clamp_min(1e-8).div_(127)
            outputs = self._product(rows / scale, 1.0, None).mul_(scale)
            if self.bias is not None:
                outputs.add_(self.bias)
        else:
            largest = max(float(rows.abs().max()), 1e-8) if rows.numel() else 1.0
            outputs = self._product(rows * (127 / largest), largest / 127, self.bias)
        return outputs.view(*inputs.shape[:-1], outputs.shape[-1])

    def _product(self, scaled: torch.Tensor, scale: float, bias: torch.Tensor | None) -> torch.Tensor:
        """Round rows within [-127, 127], multiply them with the weights, and undo ``scale`` and the weights' scales."""
        if len(scaled) >= MANY_ROWS and _has_onednn():
            unsigned = scaled.round_().add_(_OFFSET).to(torch.uint8)
            packed, zeros = self._weights()
            return torch.ops.onednn.qlinear_pointwise(  # type: ignore[no-any-return]
                unsigned, scale, _OFFSET, packed, self.wscale, zeros, bias, 1.0, 0, torch.float32, "none", [], ""
            )
        outputs = torch._int_mm(scaled.round_().to(torch.int8), self.qweight.t()).to(torch.float32)
        outputs.mul_(self.wscale * scale)
        return outputs if bias is None else outputs.add_(bias)

    def _weights(self) -> Any:
        """The weights as oneDNN reads them, packed at the first call, with their zero points."""
        if self._packed is None:
            zeros = torch.zeros(len(self.wscale), dtype=torch.int)
            self._packed = torch.ops.onednn.qlinear_prepack(self.qweight, None), zeros
        return self._packed

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the packed weights, which cannot be copied."""
        return {**self.__dict__, "_packed": None}

    def extra_repr(self) -> str:
        outputs, inputs = self.qweight.shape
        return f"in_features={inputs}, out_features={outputs}, per_token={self.per_token}"


def _has_onednn() -> bool:
    is_available: Any = torch.backends.mkldnn.is_available
    return bool(is_available()) and hasattr(torch.ops.onednn, "qlinear_pointwise")
