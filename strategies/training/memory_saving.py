"""What a training does when the device has no memory left: smaller parts of a batch, then recomputed activations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from autoopt.strategies.errors import OutOfMemory
from autoopt.strategies.system.devices import Device


@dataclass
class MemorySaver:
    """How the batches of one training are split, and whether activations are recomputed in the backward pass.

    The number of examples per optimizer step stays the same. A loss that compares the examples of a batch with each
    other, such as a contrastive one, compares those of a part.
    """

    model: Any
    accumulation: int
    """Number of parts of a batch."""
    is_halved: bool = False
    recomputes: bool = False
    """Whether gradient checkpointing was enabled here."""

    def part_size(self, examples: int) -> int:
        """Return the number of examples that are computed together."""
        return math.ceil(examples / self.accumulation)

    def save_memory(self, message: str, *, step: int, examples: int, device: Device) -> None:
        """Make the next try at a step of ``examples`` take less memory; ``message`` is that of torch's error.

        Halves the parts once, then recomputes activations. Raises ``OutOfMemory`` when both have been tried. The peak
        of the device is that of the next try then.
        """
        shortage = device.shortage(message)
        device.release()
        device.reset_peak()
        if not self.is_halved and self.part_size(examples) > 1:
            self.is_halved = True
            self.accumulation *= 2
        elif self._can_recompute():
            self.recomputes = True
            self.model.activation_checkpointing_enable({"use_reentrant": False})  # Works with frozen embeddings too.
        else:
            tried = " and gradient checkpointing" if self.recomputes else ""
            need = str(shortage)
            raise OutOfMemory(
                f"out of memory at training step {step} with {self.part_size(examples)} of {examples} examples at a "
                f"time{tried}{need and '; '}{need}",
                shortage,
            )

    def close(self) -> None:
        """Leave the model as it was."""
        if self.recomputes:
            self.model.activation_checkpointing_disable()

    def _can_recompute(self) -> bool:
        supports = getattr(self.model, "supports_gradient_checkpointing", False)
        return bool(supports) and not self.model.is_activation_checkpointing
