"""How much the most recent trials added to the front, relative to the compute that they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoopt.objectives.measurement import Direction
from autoopt.search.choosing.front import hypervolume, losses
from autoopt.search.trial.record import COUNTED, State, TrialRecord

WINDOW = 8
"""Number of recent trials that are judged together; a single trial without gain says little."""


def gain_per_hour(records: Sequence[TrialRecord], objectives: Mapping[str, Direction]) -> float | None:
    """Return the share of the front's hypervolume that the last ``WINDOW`` trials added, per hour of their compute.

    The reference point is the worst value of each objective among all complete trials, so the two ends of a front
    contribute nothing by themselves. None if too few trials have ended or the front is empty.
    """
    ended = [record for record in records if record.state in COUNTED]
    hours = sum(record.seconds for record in ended[-WINDOW:]) / 3600
    if len(ended) <= WINDOW or not hours:
        return None
    complete = [record for record in ended if record.state is State.COMPLETE]
    usable = [record for record in complete if record.feasible] or complete
    if not usable:
        return None
    reference = [max(axis) for axis in zip(*(losses(record, objectives) for record in complete), strict=True)]
    recent = {record.number for record in ended[-WINDOW:]}
    after = hypervolume([losses(record, objectives) for record in usable], reference)
    before = hypervolume([losses(record, objectives) for record in usable if record.number not in recent], reference)
    return (after - before) / after / hours if after else None
