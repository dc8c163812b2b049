"""Median time of a call, in milliseconds, with its ratio to the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.timing.latency import latency, latency_ratio


class LatencyP50(Cost):
    """The reference's median times the paired ratio; ``latency_ratio`` comes with it."""

    dimension = units.LATENCY
    role = Role.SPEED
    timed = True
    other_names = ("latency",)
    always = True
    default_of_role = True

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        comparison, calibration = serving.comparison, serving.calibration
        median = latency(self.name, calibration.p50_ms, comparison, calibration, samples=comparison.samples)
        return (median, latency_ratio(comparison))

    def limit_ratio(self, limit: float, reference: float) -> float:
        return limit / reference
