"""How far trials and verified models exceed the study's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoopt.objectives.judging.budget import IntervalEnd, Limit
from autoopt.objectives.judging.verdict import judge, judge_measured
from autoopt.objectives.measurement import Measurement
from autoopt.search.study.verification import Verified
from autoopt.search.trial.record import State, TrialRecord


def violations_of(
    record: TrialRecord, limits: Sequence[Limit], reference: Mapping[str, Measurement]
) -> dict[str, float]:
    """Return the excess over each limit by its text; ``reference`` holds the baseline's measurements.

    Limits on unmeasured metrics count as violated for a complete trial, and are left out for any other.
    """
    verdict = judge if record.state is State.COMPLETE else judge_measured
    return verdict(record.measurements, limits, reference).by_text


def judge_verified(model: Verified, reference: Verified, limits: Sequence[Limit]) -> Verified:
    """Return the model with its violations by the new measurements, at the worse end of each interval."""
    verdict = judge(model.measurements, limits, reference.measurements, end=IntervalEnd.WORSE)
    return replace(model, record=replace(model.record, violations=verdict.by_text))
