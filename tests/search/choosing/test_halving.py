"""Successive halving: which trials continue past a rung."""

from __future__ import annotations

import random

import pytest
from scipy.stats import kendalltau

from autoopt.search.choosing import halving
from autoopt.search.choosing.halving import RungEntry, is_reliable, should_continue


@pytest.fixture(autouse=True)
def small_strata(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a handful of trials suffice for a comparison."""
    monkeypatch.setattr(halving, "MIN_TRIALS", 1)
    monkeypatch.setattr(halving, "MIN_STRATUM_SIZE", 3)


def entry(quality: float, latency: float, violation: float = 0.0) -> RungEntry:
    return RungEntry((-quality, latency), latency, violation)


def test_few_trials_stop_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    bad, good = entry(0.1, 9.0), entry(0.9, 3.0)
    assert should_continue(bad, [good] * (halving.MIN_TRIALS - 2))
    assert not should_continue(bad, [good] * (halving.MIN_TRIALS - 1))


def test_the_first_trial_continues() -> None:
    assert should_continue(entry(0.1, 9.0), [])


def test_of_two_trials_the_dominating_one_continues() -> None:
    good, bad = entry(0.9, 3.0), entry(0.8, 4.0)
    assert should_continue(good, [bad])
    assert not should_continue(bad, [good])


def test_a_non_dominated_trial_continues() -> None:
    fast, accurate = entry(0.6, 1.0), entry(0.9, 4.0)
    assert should_continue(fast, [accurate])
    assert should_continue(accurate, [fast])


def test_the_crowded_middle_of_a_front_is_stopped_before_its_ends() -> None:
    others = [entry(0.90, 4.0), entry(0.80, 3.0), entry(0.79, 2.9), entry(0.5, 1.0)]
    assert not should_continue(entry(0.795, 2.95), others)
    assert should_continue(entry(0.95, 5.0), others)


def test_what_is_over_a_limit_comes_last_whatever_its_quality() -> None:
    others = [entry(0.5, 3.0), entry(0.4, 3.1), entry(0.3, 3.2)]
    assert not should_continue(entry(0.9, 2.0, violation=0.1), others)
    assert should_continue(entry(0.9, 2.0), others)


def test_the_fast_third_is_not_starved_by_the_accurate_ones() -> None:
    accurate = [entry(0.90 + 0.001 * place, 4.0 + 0.1 * place) for place in range(6)]
    fast = [entry(0.50, 1.0), entry(0.55, 1.1)]
    # Worse than seven of the eight others, but the best of its third.
    assert should_continue(entry(0.60, 1.2), [*accurate, *fast])
    assert not should_continue(entry(0.49, 1.2), [*accurate, *fast])


def test_a_trial_on_the_front_of_complete_ones_continues_unless_it_is_only_the_fastest() -> None:
    better = [entry(0.9, 2.0), entry(0.8, 2.0), entry(0.7, 2.0)]
    trial = entry(0.6, 2.0)
    assert not should_continue(trial, better)
    assert should_continue(trial, better, complete=[entry(0.5, 1.0), entry(0.95, 4.0)])
    assert not should_continue(trial, better, complete=[entry(0.7, 1.0)])
    assert not should_continue(trial, better, complete=[entry(0.95, 4.0)])


@pytest.mark.parametrize("seed", range(20))
def test_half_of_many_random_trials_continue_in_every_third(seed: int) -> None:
    rng = random.Random(seed)
    entries = [entry(rng.random(), rng.random()) for _ in range(60)]
    continued = [
        trial for trial in entries if should_continue(trial, [other for other in entries if other is not trial])
    ]
    for low, high in ((0, 20), (20, 40), (40, 60)):
        third = sorted(entries, key=lambda trial: trial.speed)[low:high]
        assert 10 <= sum(trial in continued for trial in third) <= 12  # Both ends of a front are worth the same.


def test_a_rung_is_reliable_until_enough_trials_speak_against_it() -> None:
    against = [(0.1, 0.9), (0.2, 0.8), (0.3, 0.7), (0.4, 0.6), (0.5, 0.5)]
    assert is_reliable([])
    assert is_reliable(against[:4])
    assert not is_reliable(against)
    assert is_reliable([(value, value) for value, _ in against])
    assert is_reliable([(0.5, 0.5)] * 6)


def test_reliability_is_kendalls_tau() -> None:
    rng = random.Random(0)
    for _ in range(200):
        pairs = [(rng.random(), rng.random()) for _ in range(6)]
        assert is_reliable(pairs) == (kendalltau(*zip(*pairs, strict=True)).statistic >= 0.6)
