"""When a running trial counts as hung."""

from __future__ import annotations

import pytest

from autoopt.search.trial.trial_clock import TrialClock


class Clock:
    """Seconds that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def expires_at(clock: Clock, trials: TrialClock, *, until: int = 20_000) -> int | None:
    """Return the first whole second at which trial 1 has expired."""
    for second in range(int(clock.now), until):
        clock.now = float(second)
        if trials.why_expired(1):
            return second
    return None


@pytest.mark.parametrize(
    ("timeout", "expected_s", "second"),
    [
        (90.0, None, 91),
        (90.0, 1000.0, 91),
        ("auto", 60.0, 601),
        ("auto", 2.0, 121),
        ("auto", None, 601),
        ("none", 2.0, None),
        ("none", None, None),
    ],
)
def test_the_limit_is_the_given_one_or_ten_times_the_expected_and_two_minutes(
    timeout: float, expected_s: float | None, second: int | None
) -> None:
    clock = Clock()
    trials = TrialClock(timeout, clock)
    trials.start(1, expected_s)
    trials.report(1)
    assert expires_at(clock, trials) == second


def test_the_start_of_a_worker_does_not_count_for_a_minute() -> None:
    clock = Clock()
    trials = TrialClock(10.0, clock)
    trials.start(1, None)
    trials.start(2, None)
    clock.now = 50.0
    trials.report(1)
    assert expires_at(clock, trials) == 61
    assert trials.why_expired(2) == ""
    clock.now = 71.0
    assert trials.why_expired(2).startswith("timeout: it ran for 11 s")


def test_a_trial_of_unknown_length_may_be_silent_as_long_as_it_has_run() -> None:
    clock = Clock()
    trials = TrialClock("auto", clock)
    trials.start(1, None)
    for clock.now in map(float, range(0, 2001, 500)):
        assert trials.why_expired(1) == ""
        trials.report(1)
    assert expires_at(clock, trials) == 4001


def test_a_trial_that_starts_over_has_its_time_anew_and_one_that_has_ended_none() -> None:
    clock = Clock()
    trials = TrialClock(10.0, clock)
    trials.start(1, None)
    trials.report(1)
    clock.now = 8.0
    trials.start(1, None)  # It runs already.
    assert expires_at(clock, trials) == 11
    trials.stop(1)
    assert trials.why_expired(1) == ""
    trials.start(1, None)
    trials.report(1)
    assert expires_at(clock, trials) == 22
    trials.report(2)
