"""What the last trials of a search have added to its front, for the work that they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoopt.objectives.measurement import Direction
from autoopt.search.choosing.front import hypervolume, losses
from autoopt.search.trial.record import COUNTED, State, TrialRecord

WINDOW = 8
"""The last so many trials that ended are looked at together: one that adds nothing says little."""


def gain_per_hour(records: Sequence[TrialRecord], objectives: Mapping[str, Direction]) -> float | None:
    """The share of the front's hypervolume that the last trials added, for each hour that they worked.

    The corner is the worst value in each objective, so that both ends of the front count for nothing by themselves.
    None where too few trials have ended, or none is on a front.
    """
    ended = [record for record in records if record.state in COUNTED]
    hours = sum(record.seconds for record in ended[-WINDOW:]) / 3600
    if len(ended) <= WINDOW or not hours:
        return None
    complete = [record for record in ended if record.state is State.COMPLETE]
    usable = [record for record in complete if record.feasible] or complete
    if not usable:
        return None
    corner = [max(axis) for axis in zip(*(losses(record, objectives) for record in complete), strict=True)]
    latest = {record.number for record in ended[-WINDOW:]}
    now = hypervolume([losses(record, objectives) for record in usable], corner)
    before = hypervolume([losses(record, objectives) for record in usable if record.number not in latest], corner)
    return (now - before) / now / hours if now else None
