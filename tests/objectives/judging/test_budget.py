from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.judging.budget import CAP, IntervalEnd, Limit, Relation, direction_of, metrics
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.strategies.errors import UsageError


def measured(name: str, value: float, low: float | None = None, high: float | None = None) -> Measurement:
    direction = direction_of(name)
    ends = (value if low is None else low, value if high is None else high)
    return Measurement(name=name, value=value, unit="", direction=direction, low=ends[0], high=ends[1], samples=9)


@pytest.mark.parametrize(
    ("text", "metric", "relation", "value", "of_baseline"),
    [
        ("latency_p95 <= 12 ms", "latency_p95", Relation.AT_MOST, 12.0, False),
        ("latency<=0.5s", "latency_p50", Relation.AT_MOST, 500.0, False),
        ("size <= 60MB", "size", Relation.AT_MOST, 60e6, False),
        ("quality >= 0.9", "quality", Relation.AT_LEAST, 0.9, False),
        ("quality ≥ 90%", "quality", Relation.AT_LEAST, 0.9, False),
        ("quality >= 0.99 * baseline", "quality", Relation.AT_LEAST, 0.99, True),
        ("quality >= baseline", "quality", Relation.AT_LEAST, 1.0, True),
        ("quality >= baseline * 98%", "quality", Relation.AT_LEAST, 0.98, True),
        ("latency_p50 <= 45% of baseline", "latency_p50", Relation.AT_MOST, 0.45, True),
        ("size <= 1.5*baseline", "size", Relation.AT_MOST, 1.5, True),
        ("latency_p99 <= 20ms", "latency_p99", Relation.AT_MOST, 20.0, False),
        ("latency_single <= 9ms", "latency_single", Relation.AT_MOST, 9.0, False),
        ("throughput >= 200/s", "throughput", Relation.AT_LEAST, 200.0, False),
        ("throughput >= 200 examples/s", "throughput", Relation.AT_LEAST, 200.0, False),
        ("throughput >= 3 * baseline", "throughput", Relation.AT_LEAST, 3.0, True),
        ("memory <= 300MB", "memory", Relation.AT_MOST, 3e8, False),
        ("memory <= 60% of baseline", "memory", Relation.AT_MOST, 0.6, True),
        ("parameters <= 12M", "parameters", Relation.AT_MOST, 12e6, False),
        ("energy <= 50mJ", "energy", Relation.AT_MOST, 0.05, False),
        ("energy <= 0.5 * baseline", "energy", Relation.AT_MOST, 0.5, True),
    ],
)
def test_a_limit_is_read(text: str, metric: str, relation: Relation, value: float, of_baseline: bool) -> None:
    limit = Limit.parse(text)
    assert (limit.metric, limit.relation, limit.of_baseline) == (metric, relation, of_baseline)
    assert limit.value == pytest.approx(value)
    assert Limit.parse(limit.text) == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fast please", r"'fast please' is not a limit; write one as 'latency_p50 <= 12ms'"),
        ("latencyp50 <= 12ms", r"'latencyp50' is not a metric; did you mean 'latency_p50'\?; metrics are quality,"),
        ("latency_p50 >= 12ms", r"latency_p50 is better when lower; write the limit with <="),
        ("quality <= 0.9", r"quality is better when higher; write the limit with >="),
        ("latency_p50 < 12ms", r"write the limit with <="),
        ("latency_p50 <= 12", r"'latency_p50 <= 12': '12' is a latency without a unit; write one as 12ms"),
        ("latency_p50 <= 12MB", r"'MB' in '12MB' is not a unit of a latency"),
        ("size <= 12ms", r"'ms' in '12ms' is not a unit of a size"),
        ("quality >= 12ms", r"'ms' in '12ms' is not a unit of a share"),
        ("quality >= 90", r"quality is at most 1, but the limit is 90; write a share such as 0.9 or 90%"),
        ("throughput <= 200/s", r"throughput is better when higher; write the limit with >="),
        ("memory >= 300MB", r"memory is better when lower; write the limit with <="),
        ("energy <= 12ms", r"'ms' in '12ms' is not a unit of a"),
        ("throughputs >= 1/s", r"'throughputs' is not a metric; did you mean 'throughput'\?"),
        ("latency <= 0ms", r"limits latency_p50 to 0; use a limit above 0"),
        ("latency <= 2 * base", r"is not a latency; write one as 12ms"),
    ],
)
def test_what_is_no_limit_is_refused_with_the_remedy(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Limit.parse(text)


def test_a_violation_is_relative_to_the_limit_and_positive_beyond_it() -> None:
    latency, quality = Limit.parse("latency <= 10ms"), Limit.parse("quality >= 0.8")
    assert latency.violation(measured("latency_p50", 12.0), None) == pytest.approx(0.2)
    assert latency.violation(measured("latency_p50", 10.0), None) == 0.0
    assert latency.violation(measured("latency_p50", 5.0), None) == pytest.approx(-0.5)
    assert quality.violation(measured("quality", 0.6), None) == pytest.approx(0.25)
    assert quality.violation(measured("quality", 0.9), None) < 0


def test_a_relative_limit_is_judged_against_the_baseline() -> None:
    limit = Limit.parse("latency <= 0.5 * baseline")
    baseline = measured("latency_p50", 40.0)
    assert limit.bound(baseline) == 20.0
    assert limit.violation(measured("latency_p50", 30.0), baseline) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="needs the baseline's latency_p50"):
        limit.violation(measured("latency_p50", 30.0), None)


def test_a_clear_verdict_needs_the_whole_interval_but_for_quality() -> None:
    latency, quality = Limit.parse("latency <= 10ms"), Limit.parse("quality >= 0.8")
    unsure = measured("latency_p50", 9.5, low=9.0, high=11.0)
    assert latency.violation(unsure, None) < 0
    assert latency.violation(unsure, None, end=IntervalEnd.WORSE) == pytest.approx(0.1)
    assert quality.violation(measured("quality", 0.81, low=0.75, high=0.86), None, end=IntervalEnd.WORSE) < 0


def test_a_clear_verdict_on_throughput_needs_the_lower_end() -> None:
    limit = Limit.parse("throughput >= 100/s")
    unsure = measured("throughput", 110.0, low=80.0, high=140.0)
    assert limit.violation(unsure, None) < 0
    assert limit.violation(unsure, None, end=IntervalEnd.WORSE) == pytest.approx(0.2)


@pytest.mark.parametrize("metric", sorted(metrics()))
def test_every_metric_can_be_limited_against_the_baseline(metric: str) -> None:
    sign = ">=" if direction_of(metric) is Direction.MAXIMIZE else "<="
    limit = Limit.parse(f"{metric} {sign} 0.5 * baseline")
    worse, better = (1.0, 4.0) if sign == ">=" else (4.0, 1.0)
    baseline = measured(metric, 4.0)
    assert limit.violation(measured(metric, worse), baseline) > 0
    assert limit.violation(measured(metric, better), baseline) < 0


def test_a_measurement_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="limits size, but latency_p50 was passed"):
        Limit.parse("size <= 1MB").violation(measured("latency_p50", 1.0), None)


@given(st.floats(), st.floats(), st.sampled_from(["latency <= 10ms", "quality >= 0.9", "size <= 2 * baseline"]))
def test_a_violation_is_always_finite_and_capped(value: float, reference: float, text: str) -> None:
    limit = Limit.parse(text)
    excess = limit.violation(measured(limit.metric, value), measured(limit.metric, reference))
    assert math.isfinite(excess)
    assert -CAP <= excess <= CAP


def test_what_is_not_finite_is_violated() -> None:
    for value in (math.nan, math.inf, -math.inf):
        assert Limit.parse("latency <= 10ms").violation(measured("latency_p50", value), None) == CAP


def test_a_quality_of_everything_may_be_asked_for_and_no_more() -> None:
    assert Limit.parse("quality >= 100%").value == 1.0
    with pytest.raises(UsageError, match="at most 1"):
        Limit.parse("quality >= 1.01")


def test_a_cost_of_nothing_keeps_a_limit_of_nothing_exactly() -> None:
    limit = Limit.parse("size <= 0.5 * baseline")
    nothing = measured("size", 0.0)
    assert limit.violation(nothing, nothing) == 0.0
    assert limit.violation(measured("size", 1.0), nothing) == CAP


@given(
    st.floats(1e-3, 1e12),
    st.floats(1e-3, 1e12),
    st.sampled_from(
        ["latency <= 10ms", "size <= 60MB", "size <= 0.5 * baseline", "throughput >= 200/s", "energy <= 5mJ"]
    ),
)
def test_a_relaxed_limit_is_kept_and_not_by_much(value: float, reference: float, text: str) -> None:
    limit = Limit.parse(text)
    item, baseline = measured(limit.metric, value), measured(limit.metric, reference)
    violation = limit.violation(item, baseline)
    relaxed = limit.relaxed_by(violation) if violation > 0 else None
    if relaxed is not None:
        assert -0.02 < relaxed.violation(item, baseline) <= 1e-9


@pytest.mark.parametrize(
    ("text", "violation", "relaxed"),
    [
        ("size <= 1KB", 163.08, "size <= 165 kB"),
        ("latency_p50 <= 0.45 * baseline", 1.22, "latency_p50 <= 0.999 * baseline"),
        ("latency <= 12ms", 0.001, "latency_p50 <= 12.1 ms"),
        ("quality >= 0.98 * baseline", 0.1, "quality >= 0.882 * baseline"),
        ("quality >= 95%", 0.301, "quality >= 66.4%"),
        ("throughput >= 200/s", 1.0, None),
        ("size <= 1KB", CAP, None),
    ],
)
def test_a_relaxed_limit_is_rounded_to_the_side_on_which_it_is_kept(
    text: str, violation: float, relaxed: str | None
) -> None:
    limit = Limit.parse(text).relaxed_by(violation)
    assert (limit.text if limit else None) == relaxed
