"""Time to the first token: the median time of a pass over the target's prompt, in milliseconds."""

from __future__ import annotations

from autoopt.objectives.cost import CallTime
from autoopt.objectives.target import Calls
from autoopt.objectives.timing.pairing import SCREENING


class TimeToFirstToken(CallTime):
    """Of ``target.concurrency`` prompts of ``target.prompt`` tokens in one batch."""

    calls = Calls.PREFILL
    pairs = SCREENING
    label = "to the first token"
