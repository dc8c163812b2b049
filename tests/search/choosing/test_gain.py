"""What the most recent trials added to the front."""

from __future__ import annotations

import pytest

from autoopt.objectives.measurement import Direction
from autoopt.search.choosing.gain import WINDOW, gain_per_hour
from autoopt.search.trial.record import State, TrialRecord
from tests.search.samples import BASELINE, measured, record

OBJECTIVES = {"quality": Direction.MAXIMIZE, "latency_p50": Direction.MINIMIZE}


def trials(*values: tuple[float, float], seconds: float = 450.0, infeasible: tuple[int, ...] = ()) -> list[TrialRecord]:
    """Complete trials of these qualities and ratios to a baseline of 30 ms."""
    return [
        record(
            number,
            BASELINE,
            measurements=measured(*value),
            violations={"size <= 10MB": 0.5} if number in infeasible else {},
            seconds=seconds,
        )
        for number, value in enumerate(values)
    ]


def test_it_is_the_share_of_the_hypervolume_for_each_hour() -> None:
    # The reference point is quality 0.5 and ratio 1; the first point dominates half of what both do.
    first = [(0.5, 0.5), (0.7, 1.0), (0.6, 0.75)]
    last = [(0.6, 0.5)] + [(0.5, 1.0)] * (WINDOW - 1)
    gain = gain_per_hour(trials(*first, *last), OBJECTIVES)
    assert gain == pytest.approx((0.1 * 0.5 - 0.1 * 0.25) / (0.1 * 0.5))


def test_the_reference_point_is_the_worst_of_all_complete_trials_feasible_or_not() -> None:
    # The first trial is infeasible and the worst of all: the reference point is quality 0.4 and 60 ms. Up to there
    # (0.7, 45 ms) and (0.5, 30 ms) dominate 0.2 * 15 + 0.1 * 30 = 6; with (0.6, 15 ms) in between it is
    # 0.1 * 15 + 0.1 * 45 + 0.1 * 45 = 10.5. The last eight trials worked two hours.
    first = [(0.4, 2.0), (0.5, 1.0), (0.7, 1.5)]
    last = [(0.6, 0.5)] + [(0.5, 1.0)] * (WINDOW - 1)
    gain = gain_per_hour(trials(*first, *last, seconds=900.0, infeasible=(0,)), OBJECTIVES)
    assert gain == pytest.approx((10.5 - 6) / 10.5 / 2)


def test_what_is_infeasible_counts_while_nothing_is_feasible() -> None:
    values = [(0.4, 2.0), (0.5, 1.0), (0.7, 1.5), (0.6, 0.5), *[(0.5, 1.0)] * (WINDOW - 1)]
    records = trials(*values, seconds=900.0, infeasible=tuple(range(len(values))))
    assert gain_per_hour(records, OBJECTIVES) == pytest.approx((10.5 - 6) / 10.5 / 2)


def test_what_adds_nothing_gains_nothing() -> None:
    assert gain_per_hour(trials((0.5, 0.5), (0.7, 1.0), (0.6, 0.75), *[(0.5, 1.0)] * WINDOW), OBJECTIVES) == 0


def test_failed_trials_took_time_but_running_ones_are_left_out() -> None:
    values = [(0.4, 2.0), (0.5, 1.0), (0.7, 1.5), (0.6, 0.5)]
    records = trials(*values, seconds=900.0, infeasible=(0,))
    records += [record(number, state=State.FAILED, seconds=900.0) for number in range(4, 4 + WINDOW - 1)]
    records += [record(number, state=State.RUNNING, seconds=900.0) for number in range(20, 30)]
    assert gain_per_hour(records, OBJECTIVES) == pytest.approx((10.5 - 6) / 10.5 / 2)


def test_little_says_nothing() -> None:
    assert gain_per_hour([], OBJECTIVES) is None
    values = [(0.5, 1.0), (0.7, 0.5), *[(0.6, 0.75)] * (WINDOW - 2)]
    assert gain_per_hour(trials(*values), OBJECTIVES) is None
    assert gain_per_hour(trials(*values, (0.6, 0.75)), OBJECTIVES) is not None
    assert gain_per_hour(trials(*[(0.6, 0.75)] * (WINDOW + 1)), OBJECTIVES) is None
    failed = [record(number, state=State.FAILED) for number in range(20)]
    assert gain_per_hour(failed, OBJECTIVES) is None
