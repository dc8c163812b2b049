"""Time per output token, in milliseconds: that of a pass over one token, with the states of all before it cached."""

from __future__ import annotations

from autoopt.objectives.cost import CallTime
from autoopt.objectives.target import Calls, Target
from autoopt.objectives.timing.pairing import SCREENING


class TimePerOutputToken(CallTime):
    """The mean over the tokens after the first: measured in the middle of the answer, as it grows with the length."""

    calls = Calls.DECODE
    pairs = SCREENING
    label = "a token"

    def parts(self, target: Target) -> int:
        return target.decoded
