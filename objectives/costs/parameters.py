"""Number of the model's weights, quantized ones included; a tied weight counts once."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.strategies.stand_ins.contract import parameter_count


class Parameters(Cost):
    """The usual figure of a model card."""

    dimension = units.COUNT
    role = Role.SPACE
    always = True
    exact = True

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        return (Measurement.exact(self.name, parameter_count(serving.model), "", self.direction),)
