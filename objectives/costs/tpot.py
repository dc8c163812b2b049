"""Time per output token, in milliseconds: that of a pass over one token, with the states of all before it cached."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.target import Calls
from autoopt.objectives.timing.latency import latency
from autoopt.objectives.timing.pairing import SCREENING


class TimePerOutputToken(Cost):
    """The mean over the tokens after the first: measured in the middle of the answer, as it grows with the length."""

    dimension = units.LATENCY
    role = Role.SPEED
    timed = True
    calls = Calls.DECODE
    pairs = SCREENING
    label = "a token"

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        comparison, calibration = serving.timed(self.calls)
        token_ms = calibration.p50_ms / serving.target_for(self.calls).decoded
        return (latency(self.name, token_ms, comparison, calibration, samples=comparison.samples),)
