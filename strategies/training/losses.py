"""Losses computed from a model's logits rather than by the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Batch, Criterion, own_loss

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CrossEntropy:
    """A criterion: the cross entropy with one class per text."""

    smoothing: float = 0.0
    """Probability that is spread over all classes."""
    weights: tuple[float, ...] = ()
    """Weight of each class; none for equal weights."""

    def __call__(self, output: Any, batch: Batch) -> torch.Tensor:
        from torch.nn import functional as F

        logits = output.logits
        weights = logits.new_tensor(self.weights) if self.weights else None
        return F.cross_entropy(logits, batch["labels"], weight=weights, label_smoothing=self.smoothing)

    @classmethod
    def of(cls, criterion: Criterion) -> CrossEntropy:
        """Return the same loss for one class per text, as a function of logits; the plain one for a model's own."""
        return criterion if isinstance(criterion, CrossEntropy) else cls()

    def with_smoothing(self, share: float) -> CrossEntropy:
        return replace(self, smoothing=share)

    def with_weights(self, weights: Iterable[float]) -> CrossEntropy:
        return replace(self, weights=tuple(weights))


def on_logits(criterion: Criterion) -> Criterion:
    """Return the same loss as a function of the output's ``logits`` and the batch's ``labels`` only."""
    return CrossEntropy() if criterion is own_loss else criterion
