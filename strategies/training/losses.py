"""Losses computed from a model's logits rather than by the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Batch, Criterion, own_loss

if TYPE_CHECKING:
    import torch


def cross_entropy(smoothing: float = 0.0) -> Criterion:
    """Return the cross entropy with one class per text and label smoothing."""

    def criterion(output: Any, batch: Batch) -> torch.Tensor:
        from torch.nn import functional as F

        return F.cross_entropy(output.logits, batch["labels"], label_smoothing=smoothing)

    return criterion


def on_logits(criterion: Criterion) -> Criterion:
    """Return the same loss as a function of the output's ``logits`` and the batch's ``labels`` only."""
    return cross_entropy() if criterion is own_loss else criterion
