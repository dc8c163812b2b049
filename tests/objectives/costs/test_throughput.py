from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.objectives.costs.throughput import throughput
from autoopt.objectives.measurement import Direction
from autoopt.objectives.target import Target
from autoopt.objectives.timing.latency import Calibration, Comparison, measurements

CALIBRATION = Calibration(p50_ms=40, p95_ms=50, p99_ms=None, samples=150, cpu_over_wall=1.0, noisy=False)
COMPARISON = replace(Comparison.identity(CALIBRATION), ratio=0.5, low=0.4, high=0.8, samples=16)


def test_so_many_examples_are_answered_as_a_batch_has_in_the_time_of_a_call() -> None:
    found = throughput(COMPARISON, CALIBRATION, Target(batch_size=8))
    assert found.value == pytest.approx(8 / 0.020)
    assert (found.low, found.high) == pytest.approx((8 / 0.032, 8 / 0.016))
    assert (found.name, found.unit, found.direction) == ("throughput", "examples/s", Direction.MAXIMIZE)
    assert (found.samples, found.noisy) == (16, False)


def test_over_one_length_it_is_the_latency_the_other_way_round() -> None:
    latency = measurements(COMPARISON, CALIBRATION)["latency_p50"]
    assert throughput(COMPARISON, CALIBRATION, Target()).value == pytest.approx(1000 / latency.value)


def test_over_several_lengths_the_mean_call_counts_and_not_the_median() -> None:
    mixed = replace(CALIBRATION, mean_ms=100.0)
    assert throughput(COMPARISON, mixed, Target(lengths=(8, 128))).value == pytest.approx(1 / 0.050)


@pytest.mark.parametrize(("comparison", "calibration"), [(True, False), (False, True)])
def test_it_is_noisy_where_either_side_of_it_is(comparison: bool, calibration: bool) -> None:
    sides = replace(COMPARISON, noisy=comparison), replace(CALIBRATION, noisy=calibration)
    assert throughput(*sides, Target()).noisy
