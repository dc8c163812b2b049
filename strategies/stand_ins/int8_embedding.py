"""An 8-bit embedding table with a scale for each row; its state is plain tensors."""

from __future__ import annotations

import torch
from torch import nn

LARGEST = 127


class Int8Embedding(nn.Module):
    """Replaces ``nn.Embedding``; rows are dequantized when they are looked up."""

    qweight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.register_buffer("qweight", torch.zeros(words, width, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(words, 1))

    @classmethod
    def of(cls, table: nn.Embedding) -> Int8Embedding:
        """Quantize the rows of ``table``."""
        weight = table.weight.detach().float()
        quantized = cls(*weight.shape)
        quantized.scale.copy_(weight.abs().amax(1, keepdim=True).clamp_min(1e-8) / LARGEST)
        quantized.qweight.copy_((weight / quantized.scale).round())
        return quantized.to(weight.device)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.qweight[ids] * self.scale[ids]

    def extra_repr(self) -> str:
        words, width = self.qweight.shape
        return f"{words}, {width}"
