"""One optimizer step: forward and backward passes over the parts of a batch, again with less memory if it runs out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Batch, Features
from autoopt.strategies.errors import Diverged, OutOfMemory
from autoopt.strategies.system import measurement_gate
from autoopt.strategies.system.devices import Device, device_at
from autoopt.strategies.training.batches import collate
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
    pad_token_id: int
    scaler: LossScaler | None = None
    """Scales the loss if the precision is float16."""

    def __call__(self, examples: Sequence[Features], *, number: int, seed: int) -> float:
        """Make step ``number`` on ``examples`` and return their mean loss; ``seed`` is that of torch's generator.

        If memory runs out in a pass, the whole step is repeated from its seed as ``memory`` says. Raises
        ``OutOfMemory``, and ``Diverged`` if the loss is not finite.
        """
        import torch

        device = device_at(next(self.model.parameters()).device)
        while True:
            torch.manual_seed(seed)
            try:
                with measurement_gate.compute_step():
                    return self._run(examples, number, device)
            except torch.OutOfMemoryError as error:
                problem = str(error)  # Not the error itself, whose traceback holds the tensors of the step.
            self.optimizer.zero_grad(set_to_none=True)
            self.memory.save_memory(problem, step=number, examples=len(examples), device=device)

    def _run(self, examples: Sequence[Features], number: int, device: Device) -> float:
        import torch

        mean = self._add_gradients(examples, device)
        if not math.isfinite(mean):
            raise Diverged(f"the loss is {mean} at training step {number}; a lower learning rate may help")
        parameters = parameters_of(self.optimizer)
        if self.scaler is not None:
            self.scaler.unscale(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        try:
            self.optimizer.step()
        except torch.OutOfMemoryError as error:  # Part of the weights may have changed: the step cannot be repeated.
            need = device.describe_need(str(error)) or str(error)
            raise OutOfMemory(f"no memory for the optimizer's state at training step {number}: {need}") from error
        self.optimizer.zero_grad(set_to_none=True)
        return mean

    def _add_gradients(self, examples: Sequence[Features], device: Device) -> float:
        """Compute the gradient of the mean loss of the examples, part by part, and return the loss."""
        mean, part_size = 0.0, self.memory.part_size(len(examples))
        for start in range(0, len(examples), part_size):
            part = examples[start : start + part_size]
            batch = device.send(collate(part, pad_token_id=self.pad_token_id))
            with mixed_precision(device.torch_device):
                value = self.loss(self.model, batch) * (len(part) / len(examples))
            (value if self.scaler is None else self.scaler(value)).backward()
            mean += value.item()
        return mean


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return all parameters that the optimizer updates."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
