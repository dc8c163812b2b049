"""How many examples are answered in a second when one call after another is made, each with the target's batch."""

from __future__ import annotations

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.latency import Calibration, Comparison

THROUGHPUT = "throughput"


def throughput(comparison: Comparison, calibration: Calibration, target: Target) -> Measurement:
    """The target's batch over the time of a call, timed in turn with the reference; in examples/s.

    Where texts of several lengths are served, the time of a call is the mean over the lengths: so many examples of the
    mix are answered. Over one length it says the same as ``latency_p50``, the other way round.
    """

    def rate(ratio: float) -> float:
        return 1000 * target.batch_size / (ratio * calibration.call_ms)

    return Measurement(
        name=THROUGHPUT,
        value=rate(comparison.ratio),
        unit="examples/s",
        direction=Direction.MAXIMIZE,
        low=rate(comparison.high),
        high=rate(comparison.low),
        samples=comparison.samples,
        noisy=comparison.noisy or calibration.noisy,
    )
