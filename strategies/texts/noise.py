"""Noise on the inputs of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def hide(mask: torch.Tensor, share: float) -> torch.Tensor:
    """Return the mask with ``share`` of its tokens hidden, never the first, from which texts are classified."""
    import torch

    drop = (torch.rand(mask.shape) < share).to(mask.device)
    drop[:, 0] = False
    return mask * ~drop
