"""Loss scaling, so that small gradients do not vanish in float16 (Micikevicius et al. 2018, "Mixed precision")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

GROWTH_STEPS = 2000
"""Number of steps with finite gradients after which the scale is doubled, as in ``torch.amp.GradScaler``."""


class LossScaler(nn.Module):
    """The factor of the loss. All state is in buffers, so that a checkpoint of the training holds it."""

    scale: Tensor
    finite_steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(2.0**16))
        self.register_buffer("finite_steps", torch.tensor(0))

    def forward(self, loss: Tensor) -> Tensor:
        """Return the scaled loss, from which the gradients are computed."""
        return loss * float(self.scale)

    def unscale(self, parameters: Sequence[nn.Parameter]) -> None:
        """Divide the gradients by the scale, in place; remove all of them if one is not finite, and halve the scale.

        An optimizer then does nothing in this step.
        """
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            return
        torch._foreach_div_(gradients, float(self.scale))
        if torch.stack([gradient.isfinite().all() for gradient in gradients]).all():
            self.finite_steps += 1
            if self.finite_steps >= GROWTH_STEPS:
                self.scale *= 2
                self.finite_steps.zero_()
            return
        for parameter in parameters:
            parameter.grad = None
        self.scale /= 2
        self.finite_steps.zero_()
