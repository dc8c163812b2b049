"""How far trials and verified models exceed the study's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoopt.objectives.costs import costs
from autoopt.objectives.judging.budget import IntervalEnd, Limit
from autoopt.objectives.judging.verdict import judge, judge_measured
from autoopt.objectives.measurement import Measurement
from autoopt.search.study.verification import Verified
from autoopt.search.trial.record import State, TrialRecord

MAX_RATIO_ERROR = 0.5
"""Largest excess over a limit that a disturbance may explain if the model was timed in turn with the reference. A trunk
alone takes as long as the baseline: it need not be looked at twice to know that it misses a limit of half of that."""


def violations_of(
    record: TrialRecord, limits: Sequence[Limit], reference: Mapping[str, Measurement]
) -> dict[str, float]:
    """Return the excess over each limit by its text; ``reference`` holds the baseline's measurements.

    Limits on unmeasured metrics count as violated for a complete trial, and are left out for any other.
    """
    verdict = judge if record.state is State.COMPLETE else judge_measured
    return verdict(record.measurements, limits, reference, corrections=record.corrections).by_text


def rests_on_noise(record: TrialRecord, limits: Sequence[Limit]) -> bool:
    """Whether nothing but measurements on a disturbed machine says that the trial exceeds a limit."""
    measured = [limit for limit in limits if limit.metric in record.measurements]
    exceeded = [limit for limit in measured if record.violations.get(limit.text, 0.0) > 0]
    if record.state is State.REJECTED:
        exceeded = exceeded or measured
    elif record.state is not State.COMPLETE:
        return False
    return bool(exceeded) and all(_is_disturbed(limit, record) for limit in exceeded)


def _is_disturbed(limit: Limit, record: TrialRecord) -> bool:
    """Whether the number that the limit is compared with is unreliable.

    A time is the ratio to the reference, timed in turn with it, times the reference's calibration, which does not
    matter for a limit relative to the baseline, and may have been corrected.
    """
    measured, ratio = record.measurements[limit.metric], record.measurements.get("latency_ratio")
    is_ratio_enough = limit.of_baseline or limit.metric in record.corrections
    cost = costs().get(limit.metric)
    if ratio is not None and is_ratio_enough and cost is not None and cost.limit_ratio(1.0, 1.0) is not None:
        return ratio.noisy and record.violations.get(limit.text, 0.0) <= MAX_RATIO_ERROR
    return measured.noisy


def judge_verified(model: Verified, reference: Verified, limits: Sequence[Limit]) -> Verified:
    """Return the model with its violations by the new measurements, at the worse end of each interval."""
    verdict = judge(model.measurements, limits, reference.measurements, end=IntervalEnd.WORSE)
    return replace(model, record=replace(model.record, violations=verdict.by_text))
