"""When a search ends before its number of trials."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from autoopt.objectives.measurement import Direction
from autoopt.search.study.stopping import MAX_FAILURES_IN_A_ROW, TIME_IS_UP, StoppingRule
from autoopt.search.trial.record import State, TrialRecord
from tests.search.samples import BASELINE, baseline, measured, record

OBJECTIVES = {"quality": Direction.MAXIMIZE, "latency_p50": Direction.MINIMIZE}


def reason(rule: StoppingRule, records: list[TrialRecord]) -> str:
    return rule(records, objectives=OBJECTIVES, baseline=BASELINE)


def failed(number: int, **changes: Any) -> TrialRecord:
    return record(number, state=State.FAILED, reason=f"Diverged: {number}", **changes)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(value=0.0)
    monkeypatch.setattr("autoopt.search.study.stopping.time", SimpleNamespace(monotonic=lambda: clock.value))
    return clock


def test_without_limits_a_search_goes_on() -> None:
    records = [baseline(), *(record(number, seconds=1e9) for number in range(1, 40))]
    assert reason(StoppingRule(1), records) == ""
    assert not StoppingRule(1).is_overdue()


def test_from_the_timeout_on_no_trial_starts_and_after_the_grace_none_runs(now: SimpleNamespace) -> None:
    rule = StoppingRule(6, timeout_s=100.0, grace_s=10.0, started_at=0.0)
    for now.value, is_up, is_overdue in (
        (99.9, False, False),
        (100.0, True, False),
        (109.9, True, False),
        (110.0, True, True),
    ):
        assert reason(rule, []) == (TIME_IS_UP if is_up else "")
        assert rule.is_overdue() is is_overdue


def test_the_time_runs_from_the_first_trial(now: SimpleNamespace) -> None:
    rule = StoppingRule(6, timeout_s=100.0)
    now.value = 1000.0
    assert reason(rule, []) == ""
    assert not rule.is_overdue()
    begun = rule.started()
    now.value = 1099.0
    assert begun.started() == begun
    assert reason(begun, []) == ""
    now.value = 1100.0
    assert reason(begun, []) == TIME_IS_UP


def test_the_compute_of_all_trials_counts() -> None:
    records = [baseline(), record(1, seconds=20.0), failed(2, seconds=20.0)]
    assert records[0].seconds == 80.0
    assert reason(StoppingRule(6, max_compute_s=120.0), records) == "the compute is used up"
    assert reason(StoppingRule(6, max_compute_s=120.1), records) == ""


def test_a_gain_at_the_limit_is_enough() -> None:
    # The last eight trials work an hour; the first of them adds half of the final hypervolume.
    values = [(0.5, 0.5), (0.7, 1.0), (0.6, 0.75), (0.6, 0.5), *[(0.5, 1.0)] * 7]
    records = [record(n, measurements=measured(*value), violations={}, seconds=450.0) for n, value in enumerate(values)]
    assert reason(StoppingRule(30, stop_when_gain=0.499), records) == ""
    text = "the last 8 trials added 50.00% to the front for each hour of work"
    assert reason(StoppingRule(30, stop_when_gain=0.501), records) == text
    assert reason(StoppingRule(30, stop_when_gain=0.501), records[:8]) == ""


def test_failures_in_a_row_end_a_search_but_not_one_less_or_others_in_between() -> None:
    failures = [failed(number) for number in range(1, 1 + MAX_FAILURES_IN_A_ROW)]
    last = f"the last with Diverged: {MAX_FAILURES_IN_A_ROW}"
    assert reason(StoppingRule(30), [baseline(), *failures]) == f"10 trials in a row failed, {last}"
    assert reason(StoppingRule(30), [baseline(), *failures[1:]]) == ""
    assert reason(StoppingRule(30), [*failures[1:], record(40), failures[0]]) == ""
    running = record(50, state=State.RUNNING)
    assert reason(StoppingRule(30), [baseline(), *failures, running]) == f"10 trials in a row failed, {last}"


def test_a_failed_baseline_is_named_before_any_other_reason(now: SimpleNamespace) -> None:
    now.value = 200.0
    records = [record(0, BASELINE, state=State.FAILED, reason="OutOfMemory: too large"), *map(failed, range(1, 20))]
    rule = StoppingRule(30, timeout_s=100.0, started_at=0.0, max_compute_s=0.0)
    assert reason(rule, records) == "the baseline failed with OutOfMemory: too large"
    assert reason(rule, records[1:]).startswith("10 trials in a row failed")
    assert reason(rule, [baseline()]) == "the compute is used up"
