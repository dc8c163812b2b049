"""The verdict: whether measurements keep the limits, and what a missing measurement means.

A limit counts as violated by 100 % if its metric was not measured, or if it is relative and the baseline's was not.
Only ``judge_measured`` leaves such limits out, for unfinished trials, which have no quality yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from autoopt.objectives.judging.budget import IntervalEnd, Limit
from autoopt.objectives.measurement import Measurement

UNMEASURED = 1.0
"""Violation of a limit on a metric that was not measured: 100 %."""
NO_CORRECTIONS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class Verdict:
    """Relative excess over each limit; 0 or less is within."""

    excess: Mapping[Limit, float]

    @property
    def feasible(self) -> bool:
        """Whether every limit is kept."""
        return is_kept(self.by_text)

    @property
    def by_text(self) -> dict[str, float]:
        """The excess by the text of each limit, the form in which records store it."""
        return {limit.text: excess for limit, excess in self.excess.items()}

    @property
    def exceeded(self) -> dict[Limit, float]:
        """The excess over the limits that are not kept."""
        return {limit: excess for limit, excess in self.excess.items() if excess > 0}


def judge(
    measurements: Mapping[str, Measurement],
    limits: Iterable[Limit],
    reference: Mapping[str, Measurement],
    *,
    end: IntervalEnd = IntervalEnd.VALUE,
    corrections: Mapping[str, float] = NO_CORRECTIONS,
) -> Verdict:
    """Judge a finished trial by every limit; ``reference`` holds the baseline's measurements.

    ``corrections`` has a factor for each metric whose absolute values are off, because the reference was timed on a
    disturbed machine. Limits relative to the baseline, which is off alike, do not need it.
    """
    return Verdict(
        {
            limit: UNMEASURED
            if _unmeasured(limit, measurements, reference)
            else limit.violation(
                _corrected(limit, measurements[limit.metric], corrections), reference.get(limit.metric), end=end
            )
            for limit in limits
        }
    )


def judge_measured(
    measurements: Mapping[str, Measurement],
    limits: Iterable[Limit],
    reference: Mapping[str, Measurement],
    *,
    end: IntervalEnd = IntervalEnd.VALUE,
    corrections: Mapping[str, float] = NO_CORRECTIONS,
) -> Verdict:
    """Judge an unfinished trial, only by the limits on what was measured so far."""
    measured = [limit for limit in limits if not _unmeasured(limit, measurements, reference)]
    return judge(measurements, measured, reference, end=end, corrections=corrections)


def is_kept(violations: Mapping[str, float]) -> bool:
    """Return whether no violation is above 0."""
    return all(excess <= 0 for excess in violations.values())


def total_violation(violations: Mapping[str, float]) -> float:
    """Return the sum of the violations above 0."""
    return sum(max(0.0, excess) for excess in violations.values())


def _corrected(limit: Limit, measured: Measurement, corrections: Mapping[str, float]) -> Measurement:
    factor = 1.0 if limit.of_baseline else corrections.get(limit.metric, 1.0)
    return replace(measured, value=factor * measured.value, low=factor * measured.low, high=factor * measured.high)


def _unmeasured(limit: Limit, measurements: Mapping[str, Measurement], reference: Mapping[str, Measurement]) -> bool:
    return limit.metric not in measurements or (limit.of_baseline and limit.metric not in reference)
