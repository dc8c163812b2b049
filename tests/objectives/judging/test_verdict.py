"""The verdict on a budget, and that all who judge give the same one."""

from __future__ import annotations

import pytest

from autoopt.objectives.judging.budget import IntervalEnd, Limit
from autoopt.objectives.judging.verdict import UNMEASURED, is_kept, judge, judge_measured, total_violation
from autoopt.objectives.measurement import Direction, Measurement

LATENCY, QUALITY, SIZE = (
    Limit.parse(text) for text in ("latency_p50 <= 10ms", "quality >= 0.9 * baseline", "size <= 60MB")
)


def measured(name: str, value: float, spread: float = 0.0) -> dict[str, Measurement]:
    direction = Direction.MAXIMIZE if name == "quality" else Direction.MINIMIZE
    low, high = value - spread, value + spread
    item = Measurement(name=name, value=value, unit="", direction=direction, low=low, high=high, samples=9)
    return {name: item}


def test_what_was_not_measured_is_never_taken_for_kept() -> None:
    verdict = judge(measured("latency_p50", 5.0), [LATENCY, SIZE], {})
    assert verdict.excess == {LATENCY: pytest.approx(-0.5), SIZE: UNMEASURED}
    assert not verdict.feasible
    assert list(verdict.exceeded) == [SIZE]


def test_a_relative_limit_is_not_kept_without_the_baselines_measurement() -> None:
    assert judge(measured("quality", 0.99), [QUALITY], {}).excess == {QUALITY: UNMEASURED}
    assert judge(measured("quality", 0.99), [QUALITY], measured("quality", 1.0)).feasible


def test_before_its_end_a_trial_is_judged_by_what_is_measured() -> None:
    assert judge_measured(measured("latency_p50", 5.0), [LATENCY, SIZE, QUALITY], {}).excess.keys() == {LATENCY}
    assert judge_measured({}, [LATENCY], {}).feasible


@pytest.mark.parametrize(("end", "feasible"), [("value", True), ("worse", False), ("better", True)])
def test_the_end_of_the_interval_decides(end: str, feasible: bool) -> None:
    unsure = measured("latency_p50", 9.0, spread=2.0)
    assert judge(unsure, [LATENCY], {}, end=IntervalEnd(end)).feasible is feasible


def test_over_even_at_the_better_end() -> None:
    over = judge(measured("latency_p50", 13.0, spread=2.0), [LATENCY], {}, end=IntervalEnd.BETTER)
    assert over.exceeded == {LATENCY: pytest.approx(0.1)}


def test_records_hold_the_verdict_by_text() -> None:
    verdict = judge(measured("latency_p50", 15.0), [LATENCY, SIZE], {})
    assert verdict.by_text == {"latency_p50 <= 10ms": pytest.approx(0.5), "size <= 60MB": UNMEASURED}
    assert total_violation({"a": -1.0, "b": 0.5, "c": 0.25}) == 0.75
    assert is_kept({"a": 0.0, "b": -0.1})
    assert not is_kept({"a": 0.0, "b": 1e-9})


def test_a_correction_is_for_absolute_limits_alone() -> None:
    slow = measured("latency_p50", 30.0, spread=3.0)
    relative = Limit.parse("latency_p50 <= 0.5 * baseline")
    verdict = judge(slow, [LATENCY, relative], measured("latency_p50", 60.0), corrections={"latency_p50": 0.3})
    assert verdict.excess == {LATENCY: pytest.approx(-0.1), relative: 0.0}
    better = judge_measured(slow, [LATENCY], {}, end=IntervalEnd.BETTER, corrections={"latency_p50": 0.5})
    assert better.excess == {LATENCY: pytest.approx(0.35)}
