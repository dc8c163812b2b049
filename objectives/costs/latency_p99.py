"""99th percentile of the time of a call, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.timing.latency import latency
from autoopt.objectives.timing.pairing import FOR_P99


class LatencyP99(Cost):
    """Needs 662 samples, or is not reported."""

    dimension = units.LATENCY
    role = Role.SPEED
    timed = True
    label = "p99"
    pairs = FOR_P99

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        calibration = serving.calibration
        if calibration.p99_ms is None:
            return ()
        return (latency(self.name, calibration.p99_ms, serving.comparison, calibration, samples=calibration.samples),)

    def limit_ratio(self, limit: float, reference: float) -> float:
        return limit / reference
