"""A table of 8-bit embeddings with a scale for each row; its state is plain tensors."""

from __future__ import annotations

import torch
from torch import nn

LARGEST = 127


class Int8Embedding(nn.Module):
    """Stands in for ``nn.Embedding``; rows become floating point as they are looked up."""

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
        made = cls(*weight.shape)
        made.scale.copy_(weight.abs().amax(1, keepdim=True).clamp_min(1e-8) / LARGEST)
        made.qweight.copy_((weight / made.scale).round())
        return made.to(weight.device)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.qweight[ids] * self.scale[ids]

    def extra_repr(self) -> str:
        words, width = self.qweight.shape
        return f"{words}, {width}"
