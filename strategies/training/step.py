"""One optimizer step: forward and backward passes over the parts of a batch, again with less memory if it runs out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Batch
from autoopt.strategies.errors import Diverged, OutOfMemory
from autoopt.strategies.system import measurement_gate
from autoopt.strategies.system.devices import Device, device_at
from autoopt.strategies.training.loader import LoadedBatch
from autoopt.strategies.training.memory_saving import MemorySaver
from autoopt.strategies.training.precision import mixed_precision

if TYPE_CHECKING:
    import torch
    from torch import nn

    from autoopt.strategies.training.loss_scaling import LossScaler


@dataclass(frozen=True)
class OptimizerStep:
    """Updates the weights of a model by the gradient of its loss on a batch."""

    model: Any
    loss: Callable[[Any, Batch], torch.Tensor]
    optimizer: torch.optim.Optimizer
    memory: MemorySaver
    max_grad_norm: float
    scaler: LossScaler | None = None
    """Scales the loss if the precision is float16."""

    def __call__(self, batch: LoadedBatch, *, number: int, seed: int) -> float:
        """Make step ``number`` on a batch and return the mean loss; ``seed`` is that of torch's generator.

        If memory runs out in a pass, the whole step is repeated from its seed as ``memory`` says. Raises
        ``OutOfMemory``, and ``Diverged`` if the loss is not finite.
        """
        import torch

        device = device_at(next(self.model.parameters()).device)
        while True:
            torch.manual_seed(seed)
            try:
                with measurement_gate.compute_step():
                    return self._run(batch, number, device)
            except torch.OutOfMemoryError as error:
                problem = str(error)  # Not the error itself, whose traceback holds the tensors of the step.
            self.optimizer.zero_grad(set_to_none=True)
            self.memory.save_memory(problem, step=number, examples=len(batch.examples), device=device)

    def _run(self, batch: LoadedBatch, number: int, device: Device) -> float:
        import torch

        mean = self._add_gradients(batch, device)
        if not math.isfinite(mean):
            raise Diverged(f"the loss is {mean} at training step {number}; a lower learning rate may help")
        parameters = parameters_of(self.optimizer)
        if self.scaler is not None:
            self.scaler.unscale(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        try:
            self.optimizer.step()
        except torch.OutOfMemoryError as error:  # Part of the weights may have changed: the step cannot be repeated.
            shortage = device.shortage(str(error))
            raise OutOfMemory(
                f"no memory for the optimizer's state at training step {number}: {str(shortage) or error}", shortage
            ) from error
        self.optimizer.zero_grad(set_to_none=True)
        return mean

    def _add_gradients(self, batch: LoadedBatch, device: Device) -> float:
        """Compute the gradient of the mean loss of the examples, part by part, and return the loss."""
        losses, total = [], len(batch.examples)
        for part in batch.parts(self.memory.part_size(total)):
            rows = len(next(iter(part.values())))
            with mixed_precision(device.torch_device):
                value = self.loss(self.model, device.send(part)) * (rows / total)
            (value if self.scaler is None else self.scaler(value)).backward()
            losses.append(value.detach())
        return sum(loss.item() for loss in losses)  # Only now, since a GPU has to be waited for.


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return all parameters that the optimizer updates."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
