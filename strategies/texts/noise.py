"""Noise on what a model reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def hide(mask: torch.Tensor, share: float) -> torch.Tensor:
    """An attention mask with ``share`` of its tokens hidden; not the first, from which a whole text is answered."""
    import torch

    drop = (torch.rand(mask.shape) < share).to(mask.device)
    drop[:, 0] = False
    return mask * ~drop
