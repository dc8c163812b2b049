"""The time limit of each running trial: a trial that hangs is ended, and its worker used again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Timeout: TypeAlias = float | Literal["auto", "none"]
"""Seconds; or ``auto`` for ten times what a trial is expected to take; or ``none``."""

FACTOR = 10.0
"""Limit of a trial over its expected time, if the limit is ``auto``."""
MIN_LIMIT_S = 120.0
WORKER_START_S = 60.0
"""How long a worker may take before its trial's first report, for its libraries, model and data; it does not count."""
SILENCE_S = 600.0
"""How long a trial of unknown length, such as the baseline, may report nothing; later as long as it has run."""


@dataclass(frozen=True)
class _Run:
    started_at: float
    """At its first report; before that, the latest time that it may come."""
    limit_s: float | None
    """None if it depends on the trial's reports."""
    reported_at: float | None = None


class TrialClock:
    """Times of the running trials, from when a worker begins them; ``now`` returns seconds."""

    def __init__(self, timeout: Timeout, now: Callable[[], float] = time.monotonic) -> None:
        self._timeout, self._now = timeout, now
        self._runs: dict[int, _Run] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._runs

    def start(self, number: int, expected_s: float | None) -> None:
        """Start the time of a trial unless it runs; ``expected_s`` is None if nothing is known about it."""
        if number in self._runs:
            return
        limit_s = self._timeout if isinstance(self._timeout, float) else None
        if limit_s is None and expected_s is not None:
            limit_s = max(MIN_LIMIT_S, FACTOR * expected_s)
        self._runs[number] = _Run(self._now() + WORKER_START_S, limit_s)

    def report(self, number: int) -> None:
        """Take note that a trial proceeds."""
        if (run := self._runs.get(number)) is not None:
            started_at = self._now() if run.reported_at is None else run.started_at
            self._runs[number] = replace(run, started_at=started_at, reported_at=self._now())

    def stop(self, number: int) -> None:
        """Forget a trial that has ended or starts over."""
        self._runs.pop(number, None)

    def why_expired(self, number: int) -> str:
        """Return why a trial must end; empty if it may go on."""
        run = self._runs.get(number)
        if run is None or self._timeout == "none":
            return ""
        elapsed_s = self._now() - run.started_at
        if run.limit_s is None:
            reported_at = run.started_at if run.reported_at is None else run.reported_at
            silent_s = self._now() - reported_at
            is_hung = silent_s > max(SILENCE_S, reported_at - run.started_at)
            return f"timeout: it reported nothing for {silent_s:.0f} s" if is_hung else ""
        if elapsed_s <= run.limit_s:
            return ""
        return f"timeout: it ran for {elapsed_s:.0f} s; its limit is {run.limit_s:.0f} s (search.trial_timeout)"
