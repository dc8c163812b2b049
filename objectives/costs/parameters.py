"""Number of the model's weights, quantized ones included; a tied weight counts once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement


class Parameters(Cost):
    """The usual figure of a model card."""

    dimension = units.COUNT
    role = Role.SPACE
    always = True
    exact = True

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        return (Measurement.exact(self.name, parameter_count(serving.model), "", self.direction),)


def parameter_count(model: Any) -> int:
    """Return the number of elements of all distinct tensors of the model's state."""
    if isinstance(count := getattr(model, "weights", None), int):  # A graph of another runtime.
        return count
    tensors = {tensor.data_ptr(): tensor for tensor in model.state_dict().values() if tensor.numel()}
    return sum(tensor.numel() for tensor in tensors.values())
