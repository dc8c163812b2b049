"""The loss on classes, computed from a model's logits rather than by the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Batch, Criterion, own_loss

if TYPE_CHECKING:
    import torch


def cross_entropy(smoothing: float = 0.0) -> Criterion:
    """Cross entropy with one class for each text; ``smoothing`` of the target is shared out among all classes."""

    def criterion(output: Any, batch: Batch) -> torch.Tensor:
        from torch.nn import functional as F

        return F.cross_entropy(output.logits, batch["labels"], label_smoothing=smoothing)

    return criterion


def on_logits(criterion: Criterion) -> Criterion:
    """The same loss in a form that depends on the output's logits and the batch's ``labels`` alone."""
    return cross_entropy() if criterion is own_loss else criterion
