"""What the last trials added to the front."""

from __future__ import annotations

import pytest

from autoopt.objectives.measurement import Direction
from autoopt.search.choosing.gain import WINDOW, gain_per_hour
from autoopt.search.trial.record import State, TrialRecord
from tests.search.samples import BASELINE, measured, record

OBJECTIVES = {"quality": Direction.MAXIMIZE, "latency_p50": Direction.MINIMIZE}


def trials(*values: tuple[float, float]) -> list[TrialRecord]:
    return [
        record(number, BASELINE, measurements=measured(*value), violations={}, seconds=450.0)
        for number, value in enumerate(values)
    ]


def test_it_is_the_share_of_the_hypervolume_for_each_hour() -> None:
    # The corner is quality 0.5 and ratio 1; the first point dominates half of what both do.
    first = [(0.5, 0.5), (0.7, 1.0), (0.6, 0.75)]
    last = [(0.6, 0.5)] + [(0.5, 1.0)] * (WINDOW - 1)
    found = gain_per_hour(trials(*first, *last), OBJECTIVES)
    assert found == pytest.approx((0.1 * 0.5 - 0.1 * 0.25) / (0.1 * 0.5))


def test_what_adds_nothing_gains_nothing() -> None:
    assert gain_per_hour(trials((0.5, 0.5), (0.7, 1.0), (0.6, 0.75), *[(0.5, 1.0)] * WINDOW), OBJECTIVES) == 0


def test_little_says_nothing() -> None:
    assert gain_per_hour([], OBJECTIVES) is None
    assert gain_per_hour(trials(*[(0.6, 0.75)] * WINDOW), OBJECTIVES) is None
    failed = [record(number, state=State.FAILED) for number in range(20)]
    assert gain_per_hour(failed, OBJECTIVES) is None
