"""Time to the first token: the median time of a pass over the target's prompt, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.target import Calls
from autoopt.objectives.timing.latency import latency
from autoopt.objectives.timing.pairing import SCREENING


class TimeToFirstToken(Cost):
    """Of ``target.concurrency`` prompts of ``target.prompt`` tokens in one batch."""

    dimension = units.LATENCY
    role = Role.SPEED
    timed = True
    calls = Calls.PREFILL
    pairs = SCREENING
    label = "to the first token"

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        comparison, calibration = serving.timed(self.calls)
        return (latency(self.name, calibration.p50_ms, comparison, calibration, samples=comparison.samples),)
