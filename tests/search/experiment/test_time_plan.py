from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.search.experiment.time_plan import (
    CONTENTION,
    FIRST_TRUNK_SHARE,
    LEAST,
    LEAST_FIRST_SHARE,
    STEP_EXTRA,
    TRIAL_OVERHEAD_S,
    WORKERS_START_S,
    Deadline,
    FirstPass,
    Speed,
    minutes_up,
)

SPEED = Speed(train_s=0.05, forward_s=0.015)
SIZES = {"train": 100_000, "validation": 20_000, "test": 20_000}
speeds = st.builds(Speed, train_s=st.floats(1e-3, 1.0), forward_s=st.floats(2e-4, 0.25))
counts = st.integers(1, 200_000)


def fitting(sizes: dict[str, int], timeout_s: float, speed: Speed = SPEED, elapsed_s: float = 15.0) -> FirstPass:
    return FirstPass.fitting(sizes, speed, timeout_s=timeout_s, elapsed_s=elapsed_s, epochs=3, workers=2)


def test_the_baseline_is_trained_after_a_quarter_of_the_time() -> None:
    samples = fitting(SIZES, 1800).samples
    scored_s = CONTENTION * SPEED.forward_s * samples["validation"]
    trained_s = CONTENTION * samples["train"] * (3 * STEP_EXTRA * SPEED.train_s + SPEED.forward_s)
    ends_at_s = 15 + WORKERS_START_S + TRIAL_OVERHEAD_S + trained_s + scored_s
    assert 0.23 * 1800 < ends_at_s <= FIRST_TRUNK_SHARE * 1800
    assert samples["validation"] * CONTENTION * SPEED.forward_s <= 0.03 * 1800
    assert samples["test"] * CONTENTION * SPEED.forward_s <= 0.05 * 1800


def test_what_fits_is_not_limited_and_the_timeout_that_allows_all_does() -> None:
    quickstart = {"train": 300, "validation": 400, "test": 600}
    assert fitting(quickstart, 300, Speed(0.025, 0.015)).samples == {}
    limited = fitting(SIZES, 600)
    assert set(limited.samples) == {"train", "validation", "test"}
    assert fitting(SIZES, limited.timeout_for_all_s + 60).samples == {}
    assert fitting(SIZES, 0.9 * limited.timeout_for_all_s).samples


def test_a_minute_leaves_a_share_for_the_baseline_whatever_the_start_took() -> None:
    samples = fitting(SIZES, 60, Speed(0.002, 0.0005), elapsed_s=40).samples
    assert samples["train"] * CONTENTION * 3 * STEP_EXTRA * 0.002 <= LEAST_FIRST_SHARE * 60


@given(counts, counts, counts, speeds, st.floats(10, 100_000), st.floats(0, 100))
def test_a_sample_is_a_part_of_its_split_and_more_time_gives_no_smaller_one(
    train: int, validation: int, test: int, speed: Speed, timeout_s: float, elapsed_s: float
) -> None:
    sizes = {"train": train, "validation": validation, "test": test}
    shorter, longer = (fitting(sizes, seconds, speed, elapsed_s).samples for seconds in (timeout_s, 2 * timeout_s))
    for name, size in shorter.items():
        assert min(LEAST[name], sizes[name]) <= size < sizes[name]
        assert longer.get(name, sizes[name]) >= size


def test_a_part_of_the_time_is_kept_back_for_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 130.0)
    deadline = Deadline(300.0, started_at=100.0)
    assert (deadline.trials_s, deadline.verification_s) == (240.0, 60.0)
    assert (deadline.elapsed_s, deadline.left_s) == (30.0, 270.0)
    assert Deadline(7200.0).verification_s == 180.0
    unlimited = Deadline(None, started_at=100.0)
    assert (unlimited.trials_s, unlimited.left_s, unlimited.verification_s) == (None, None, 0.0)
    assert Deadline(60.0).left_s == 60.0, "its time begins with its first trial"


@pytest.mark.parametrize(("seconds", "text"), [(50, "1m"), (61, "2m"), (7140, "119m"), (7201, "3h")])
def test_a_timeout_is_proposed_in_whole_minutes_or_hours(seconds: float, text: str) -> None:
    assert minutes_up(seconds) == text
