"""Median time of a call with one example, in milliseconds."""

from __future__ import annotations

from autoopt.objectives.cost import CallTime
from autoopt.objectives.target import Calls


class LatencySingle(CallTime):
    """The same as ``latency_p50`` if the target's batch is one example."""

    calls = Calls.SINGLE
    label = "one example"
