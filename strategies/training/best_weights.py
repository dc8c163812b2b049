"""The best weights of a training by a validation score, and when to stop because no better ones come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    from autoopt.strategies.training.validation import Validation

PATIENCE = 3
"""Number of successive scores below the best one after which a training stops."""


class BestWeights(nn.Module):
    """The latest weights whose score is within the margin of the best one.

    All state is in buffers, so that a checkpoint of the training that lists this module holds it.
    """

    def __init__(self, model: nn.Module, parameters: Sequence[nn.Parameter], validation: Validation) -> None:
        super().__init__()
        self._watched = [model]  # In a list, so that its weights are not registered here.
        self._validation = validation
        self._tensors = {id(tensor): tensor for tensor in (*parameters, *model.buffers())}.values()
        for number, tensor in enumerate(self._tensors):
            self.register_buffer(f"tensor_{number}", tensor.detach().clone())
        self.best: Tensor
        self.kept_step: Tensor
        self.misses: Tensor
        self.register_buffer("best", torch.tensor(-torch.inf, dtype=torch.double))
        self.register_buffer("kept_step", torch.tensor(0))
        self.register_buffer("misses", torch.tensor(0))

    @property
    def is_exhausted(self) -> bool:
        """Whether the scores have been worse for so long that training should stop."""
        return int(self.misses) >= PATIENCE

    def step_done(self, done: int, total: int) -> None:
        """Score the model if this step is one of those at which it is scored; the last one is."""
        looks = self._validation.looks
        if done * looks // total == (done - 1) * looks // total:
            return
        (model,) = self._watched
        device = next(model.parameters()).device
        model.eval()
        with mixed_precision(device):
            score = self._validation.score()
        model.train()
        if score < float(self.best) - self._validation.margin:
            self.misses += 1
            return
        self.best.fill_(max(score, float(self.best)))
        self.misses.zero_()
        self.kept_step.fill_(done)
        for number, tensor in enumerate(self._tensors):
            self.get_buffer(f"tensor_{number}").copy_(tensor.detach())

    def restore(self, done: int) -> int:
        """Give the model the weights that were kept, and return the number of steps that led to them."""
        kept = int(self.kept_step)
        if 0 < kept < done:
            with torch.no_grad():
                for number, tensor in enumerate(self._tensors):
                    tensor.copy_(self.get_buffer(f"tensor_{number}"))
        return kept or done
