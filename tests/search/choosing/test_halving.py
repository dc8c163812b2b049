"""Which trials go on at a rung."""

from __future__ import annotations

import random

import pytest
from scipy.stats import kendalltau

from autoopt.search.choosing import halving
from autoopt.search.choosing.halving import RungEntry, is_reliable, should_continue


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of trials shows what is compared with what."""
    monkeypatch.setattr(halving, "FEWEST", 1)
    monkeypatch.setattr(halving, "STRATUM", 3)


def standing(quality: float, latency: float, violation: float = 0.0) -> RungEntry:
    return RungEntry((-quality, latency), latency, violation)


def test_few_trials_stop_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    bad, good = standing(0.1, 9.0), standing(0.9, 3.0)
    assert should_continue(bad, [good] * (halving.FEWEST - 2))
    assert not should_continue(bad, [good] * (halving.FEWEST - 1))


def test_the_first_one_goes_on() -> None:
    assert should_continue(standing(0.1, 9.0), [])


def test_of_two_where_one_beats_the_other_the_better_one_goes_on() -> None:
    good, bad = standing(0.9, 3.0), standing(0.8, 4.0)
    assert should_continue(good, [bad])
    assert not should_continue(bad, [good])


def test_what_nothing_beats_goes_on() -> None:
    fast, accurate = standing(0.6, 1.0), standing(0.9, 4.0)
    assert should_continue(fast, [accurate])
    assert should_continue(accurate, [fast])


def test_the_crowded_middle_of_a_front_is_stopped_before_its_ends() -> None:
    others = [standing(0.90, 4.0), standing(0.80, 3.0), standing(0.79, 2.9), standing(0.5, 1.0)]
    assert not should_continue(standing(0.795, 2.95), others)
    assert should_continue(standing(0.95, 5.0), others)


def test_what_is_over_a_limit_comes_last_whatever_its_quality() -> None:
    others = [standing(0.5, 3.0), standing(0.4, 3.1), standing(0.3, 3.2)]
    assert not should_continue(standing(0.9, 2.0, violation=0.1), others)
    assert should_continue(standing(0.9, 2.0), others)


def test_the_fast_third_is_not_starved_by_the_accurate_ones() -> None:
    accurate = [standing(0.90 + 0.001 * place, 4.0 + 0.1 * place) for place in range(6)]
    fast = [standing(0.50, 1.0), standing(0.55, 1.1)]
    # Worse than seven of the eight others, but the best of its third.
    assert should_continue(standing(0.60, 1.2), [*accurate, *fast])
    assert not should_continue(standing(0.49, 1.2), [*accurate, *fast])


def test_what_would_be_on_the_front_already_goes_on_unless_it_is_only_the_fastest() -> None:
    better = [standing(0.9, 2.0), standing(0.8, 2.0), standing(0.7, 2.0)]
    one = standing(0.6, 2.0)
    assert not should_continue(one, better)
    assert should_continue(one, better, complete=[standing(0.5, 1.0), standing(0.95, 4.0)])
    assert not should_continue(one, better, complete=[standing(0.7, 1.0)])
    assert not should_continue(one, better, complete=[standing(0.95, 4.0)])


@pytest.mark.parametrize("seed", range(20))
def test_half_of_many_random_trials_go_on_in_every_third(seed: int) -> None:
    chance = random.Random(seed)
    seen = [standing(chance.random(), chance.random()) for _ in range(60)]
    kept = [one for one in seen if should_continue(one, [other for other in seen if other is not one])]
    for low, high in ((0, 20), (20, 40), (40, 60)):
        third = sorted(seen, key=lambda one: one.speed)[low:high]
        assert 10 <= sum(one in kept for one in third) <= 12  # Both ends of a front are worth the same.


def test_the_first_rung_is_believed_until_enough_trials_speak_against_it() -> None:
    against = [(0.1, 0.9), (0.2, 0.8), (0.3, 0.7), (0.4, 0.6), (0.5, 0.5)]
    assert is_reliable([])
    assert is_reliable(against[:4])
    assert not is_reliable(against)
    assert is_reliable([(value, value) for value, _ in against])
    assert is_reliable([(0.5, 0.5)] * 6)


def test_what_is_believed_is_kendalls_tau() -> None:
    chance = random.Random(0)
    for _ in range(200):
        pairs = [(chance.random(), chance.random()) for _ in range(6)]
        assert is_reliable(pairs) == (kendalltau(*zip(*pairs, strict=True)).statistic >= 0.6)
