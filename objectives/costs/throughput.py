"""Examples answered per second by one call after another, each with the target's batch."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Direction, Measurement


class Throughput(Cost):
    """The target's batch over the mean time of a call, over all lengths if there are several."""

    dimension = units.RATE
    role = Role.SPEED
    timed = True
    direction = Direction.MAXIMIZE
    label = ""

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        comparison, calibration = serving.comparison, serving.calibration

        def rate(ratio: float) -> float:
            return 1000 * serving.target.batch_size / (ratio * calibration.call_ms)

        return (
            Measurement(
                name=self.name,
                value=rate(comparison.ratio),
                unit="examples/s",
                direction=self.direction,
                low=rate(comparison.high),
                high=rate(comparison.low),
                samples=comparison.samples,
                noisy=comparison.noisy or calibration.noisy,
                by_processor=comparison.by_processor or calibration.by_processor,
            ),
        )

    def limit_ratio(self, limit: float, reference: float) -> float:
        return reference / limit
