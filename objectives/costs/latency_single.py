"""Median time of a call with one example, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.target import Calls
from autoopt.objectives.timing.latency import latency


class LatencySingle(Cost):
    """The same as ``latency_p50`` if the target's batch is one example."""

    dimension = units.LATENCY
    role = Role.SPEED
    timed = True
    calls = Calls.SINGLE
    label = "one example"

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        comparison, calibration = serving.timed(self.calls)
        return (latency(self.name, calibration.p50_ms, comparison, calibration, samples=comparison.samples),)
