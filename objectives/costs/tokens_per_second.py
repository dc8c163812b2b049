"""Tokens written per second, over all answers that are written at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Calls
from autoopt.objectives.timing.pairing import SCREENING


class TokensPerSecond(Cost):
    """``target.concurrency`` over the time per output token; the time to the first token does not count."""

    dimension = units.TOKEN_RATE
    role = Role.SPEED
    timed = True
    calls = Calls.DECODE
    direction = Direction.MAXIMIZE
    pairs = SCREENING
    label = ""

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        comparison, calibration = serving.timed(self.calls)
        target = serving.target_for(self.calls)
        reference = 1000 * target.batch_size * target.decoded / calibration.p50_ms
        return (
            Measurement(
                name=self.name,
                value=reference / comparison.ratio,
                unit="tokens/s",
                direction=self.direction,
                low=reference / comparison.high,
                high=reference / comparison.low,
                samples=comparison.samples,
                noisy=comparison.noisy or calibration.noisy,
                by_processor=comparison.by_processor or calibration.by_processor,
            ),
        )
