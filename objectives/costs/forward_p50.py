"""Median time of a forward pass over the tokens of a batch, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.target import Calls
from autoopt.objectives.timing.latency import latency


class ForwardP50(Cost):
    """What ``latency_p50`` would be if texts came as tokens and answers stayed numbers."""

    dimension = units.LATENCY
    role = Role.SPEED
    timed = True
    calls = Calls.FORWARD
    label = "forward"

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        comparison, calibration = serving.timed(self.calls)
        return (latency(self.name, calibration.p50_ms, comparison, calibration, samples=comparison.samples),)
