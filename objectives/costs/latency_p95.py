"""95th percentile of the time of a call, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.timing.latency import latency
from autoopt.objectives.timing.pairing import THOROUGH


class LatencyP95(Cost):
    """Needs 130 samples, or is not reported."""

    dimension = units.LATENCY
    role = Role.SPEED
    timed = True
    always = True
    pairs = THOROUGH

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        calibration = serving.calibration
        if calibration.p95_ms is None:
            return ()
        return (latency(self.name, calibration.p95_ms, serving.comparison, calibration, samples=calibration.samples),)

    def limit_ratio(self, limit: float, reference: float) -> float:
        return limit / reference
