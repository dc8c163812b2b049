"""Energy of one example, in joules, where NVML or RAPL counts it."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing import energy_meter


class Energy(Cost):
    """All of the device's energy while it answers, idle power included."""

    dimension = units.ENERGY
    role = Role.OTHER
    label = ""

    def check(self, target: Target) -> None:
        energy_meter.open_meter(target)

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        return (serving.once(self.name, lambda: energy_meter.measure_model_energy(serving.model, serving.target)),)
