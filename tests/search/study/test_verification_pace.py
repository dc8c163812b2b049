"""Which models are verified in the time that is left, and how long their calls are timed."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from autoopt.search.study import verification
from autoopt.search.study.verification import MIN_TIMING_S, REGISTER_S, TIMING_SHARE, Pace


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(at=0.0)
    monkeypatch.setattr(verification, "time", SimpleNamespace(monotonic=lambda: clock.at))
    return clock


def verified(pace: Pace, now: SimpleNamespace, seconds: float) -> list[int]:
    done = []
    for number in pace:
        now.at += seconds
        done.append(number)
    return done


def test_without_a_limit_every_model_is_verified(now: SimpleNamespace) -> None:
    pace = Pace(math.inf, [0, 5, 3])
    assert verified(pace, now, 100.0) == [0, 5, 3]
    assert [pace.timing_s() for _ in pace] == [math.inf] * 3


def test_none_is_started_that_would_end_too_late(now: SimpleNamespace) -> None:
    assert verified(Pace(60.0, [0, 5, 3, 4, 7]), now, 12.0) == [0, 5, 3, 4]


def test_the_baseline_and_the_most_important_model_are_verified_in_any_case(now: SimpleNamespace) -> None:
    assert verified(Pace(1.0, [0, 5, 3]), now, 12.0) == [0, 5]


def test_the_time_is_shared_by_the_models_that_remain(now: SimpleNamespace) -> None:
    pace = Pace(100.0, [0, 5, 3, 4])
    shares = []
    for _ in pace:
        shares.append(pace.timing_s())
        now.at += 10.0
    left = [100.0 - 4 * REGISTER_S - 10.0 * place for place in range(4)]
    assert shares == pytest.approx([TIMING_SHARE * seconds / (4 - place) for place, seconds in enumerate(left)])
    pace.end = now.at
    pace._remaining = 1
    assert pace.timing_s() == MIN_TIMING_S
