"""A linear layer with 8-bit weights and activations, quantized per row at run time; its state is plain tensors."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

LARGEST = 63
"""Weights use 7 of their 8 bits, activations all 8. Without VNNI the kernels add two products in 16 bits, and two of
127 * 255 do not fit: a layer of equal weights then answers half of what it should. The ways out, by mean cosine to
fp32 of MiniLM's embeddings of 100 news texts: 7-bit activations 0.981, 7-bit weights 0.993, and 8 bits each, where
little happened to overflow, 0.994. So 7-bit weights on every CPU, and a model answers the same wherever it serves."""


class Int8Linear(nn.Module):
    """Stands in for ``nn.Linear`` on a CPU, with fbgemm's kernels.

    The stock dynamic linear keeps packed weights that are no tensors, and always takes a bit off the activations. Here
    ``qweight``, ``wscale`` and ``bias`` are buffers that safetensors can hold; they are packed at the first call.
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
        made = cls(inputs, outputs, bias=linear.bias is not None, per_token=per_token)
        weight = linear.weight.detach().float()
        made.wscale.copy_(weight.abs().amax(1).clamp_min(1e-8) / LARGEST)
        made.qweight.copy_((weight / made.wscale[:, None]).round().clamp(-LARGEST, LARGEST))
        if made.bias is not None:
            made.bias.copy_(linear.bias.detach())
        return made

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self._packed is None:
            self._packed = self._pack()
        if not self.per_token:
            return self._multiply(inputs)
        # One scale for each token instead of one for the whole batch: outliers then cost nothing but their own row.
        scale = inputs.abs().amax(-1, keepdim=True).clamp_min(1e-8)
        output = self._multiply(inputs / scale).mul_(scale)
        return output if self.bias is None else output.add_(self.bias)

    def _multiply(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.ops.quantized.linear_dynamic(inputs, self._packed, reduce_range=False)  # type: ignore[no-any-return]

    def _pack(self) -> Any:
        zeros = torch.zeros(len(self.wscale), dtype=torch.long)
        with warnings.catch_warnings():
            # torch announces the end of its quantized tensors; fbgemm's kernels take their weights in no other form.
            warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.*", category=UserWarning)
            weight = torch._make_per_channel_quantized_tensor(self.qweight, self.wscale.double(), zeros, 0)
            return torch.ops.quantized.linear_prepack(weight, None if self.per_token else self.bias)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """What deepcopy takes along: not the packed weights, which are no tensors and cannot be copied."""
        return {**self.__dict__, "_packed": None}

    def extra_repr(self) -> str:
        outputs, inputs = self.qweight.shape
        return f"in_features={inputs}, out_features={outputs}, per_token={self.per_token}"
