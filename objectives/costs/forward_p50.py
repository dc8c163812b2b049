"""Median time of a forward pass over the tokens of a batch, in milliseconds."""

from __future__ import annotations

from autoopt.objectives.cost import CallTime
from autoopt.objectives.target import Calls


class ForwardP50(CallTime):
    """What ``latency_p50`` would be if texts came as tokens and answers stayed numbers."""

    calls = Calls.FORWARD
    label = "forward"
