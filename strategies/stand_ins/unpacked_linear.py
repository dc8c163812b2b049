"""Base class of linear layers that store packed weights and unpack them at their first use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class UnpackedLinear(nn.Module, ABC):
    """Replaces ``nn.Linear``; its state holds the packed weights."""

    bias: torch.Tensor | None
    weight = None
    """T5 asks each of its layers for the type of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self._dense: torch.Tensor | None = None

    @abstractmethod
    def unpacked(self) -> torch.Tensor:
        """Return the weights, (outputs, inputs)."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training or torch.is_grad_enabled():
            return F.linear(inputs, self.unpacked(), self.bias)
        if self._dense is None:
            self._dense = self.unpacked()
        return F.linear(inputs, self._dense, self.bias)

    def train(self, mode: bool = True) -> UnpackedLinear:
        self._dense = None
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        """Drop the unpacked weights when the layer moves to another device or dtype."""
        self._dense = None
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._dense = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the unpacked weights, which are computed again."""
        return {**self.__dict__, "_dense": None}
