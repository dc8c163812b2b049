"""When a search ends before its number of trials: time, compute, gain, or failures."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoopt.objectives.measurement import Direction
from autoopt.search.choosing.gain import WINDOW, gain_per_hour
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import COUNTED, State, TrialRecord

MAX_FAILURES_IN_A_ROW = 10
"""Number of consecutive failed trials that end a search, since the next one would most likely fail too."""
TIME_IS_UP = "the time is used up"


@dataclass(frozen=True)
class StoppingRule:
    """Limits of a search. Called with its records, it returns why no further trial may start; empty if one may."""

    trials: int
    """Number of trials that a search runs in all. Reaching it is not a reason: the search is then complete."""
    timeout_s: float | None = None
    """Seconds from the first trial's start after which no trial starts."""
    grace_s: float = 0.0
    """Seconds that running trials may go on after the timeout."""
    max_compute_s: float | None = None
    """Total seconds of all trials."""
    stop_when_gain: float | None = None
    """Least share of the front's hypervolume that recent trials must add per hour of their compute."""
    started_at: float | None = None
    """``time.monotonic()`` when the first trial started; None before."""

    def started(self) -> StoppingRule:
        """Return the rule with the time running."""
        return self if self.started_at is not None else replace(self, started_at=time.monotonic())

    def __call__(self, records: Sequence[TrialRecord], *, objectives: Mapping[str, Direction], baseline: Recipe) -> str:
        return (
            _baseline_failure(records, baseline)
            or _repeated_failure(records)
            or self._low_gain(records, objectives)
            or self._spent_compute(records)
            or (TIME_IS_UP if self._is_past(self.timeout_s) else "")
        )

    def seconds_left(self) -> float:
        """Return the seconds until running trials must end; infinite without a timeout."""
        if self.timeout_s is None or self.started_at is None:
            return math.inf
        return self.started_at + self.timeout_s + self.grace_s - time.monotonic()

    def is_overdue(self) -> bool:
        """Whether running trials must end too."""
        return self.timeout_s is not None and self._is_past(self.timeout_s + self.grace_s)

    def _is_past(self, seconds: float | None) -> bool:
        if seconds is None or self.started_at is None:
            return False
        return time.monotonic() >= self.started_at + seconds

    def _low_gain(self, records: Sequence[TrialRecord], objectives: Mapping[str, Direction]) -> str:
        gain = None if self.stop_when_gain is None else gain_per_hour(records, objectives)
        if gain is None or self.stop_when_gain is None or gain >= self.stop_when_gain:
            return ""
        return f"the last {WINDOW} trials added {gain:.2%} to the front for each hour of work"

    def _spent_compute(self, records: Sequence[TrialRecord]) -> str:
        is_spent = self.max_compute_s is not None and sum(record.seconds for record in records) >= self.max_compute_s
        return "the compute is used up" if is_spent else ""


def _baseline_failure(records: Sequence[TrialRecord], baseline: Recipe) -> str:
    for record in records:
        if record.state is State.FAILED and record.recipe.id == baseline.id:
            return f"the baseline failed with {record.reason}"
    return ""


def _repeated_failure(records: Sequence[TrialRecord]) -> str:
    last = [record for record in records if record.state in COUNTED][-MAX_FAILURES_IN_A_ROW:]
    if len(last) < MAX_FAILURES_IN_A_ROW or any(record.state is not State.FAILED for record in last):
        return ""
    return f"{MAX_FAILURES_IN_A_ROW} trials in a row failed, the last with {last[-1].reason}"
