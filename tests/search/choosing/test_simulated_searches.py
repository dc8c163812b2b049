"""Whole searches over recorded runs, in virtual time: what the parts of the search are for, and that they work."""

from __future__ import annotations

import pytest

from autoopt.search.experiment.opening import open_data, space_of
from autoopt.search.space.space import Space
from tests.benchmarks.recorded_runs import Recorded, experiment, recipes_of
from tests.benchmarks.simulator import SHARES, Found, simulated

NEARLY_ALL = SHARES.index(0.95)


@pytest.fixture(scope="module")
def space() -> Space:
    settings = experiment()
    return space_of(settings, open_data(settings))


@pytest.fixture(scope="module")
def table() -> Recorded:
    return Recorded.read()


def median(searches: list[Found]) -> float:
    return sorted(each.minutes[NEARLY_ALL] for each in searches)[len(searches) // 2]


def test_every_recipe_of_the_space_is_recorded_with_its_stages(space: Space, table: Recorded) -> None:
    recipes = recipes_of(space)
    assert {recipe.id for recipe in recipes} == set(table.measurements)
    for recipe in recipes:
        assert 0 < table.measured(recipe)["quality"].value <= 1
        assert table.beside[recipe.id].keys() >= {"screening", "scoring"}


@pytest.mark.slow
def test_the_store_and_the_start_design_find_the_front_sooner(space: Space, table: Recorded) -> None:
    whole, storeless, undesigned = (
        [simulated(table, space, arm, seed, workers=2, minutes=12) for seed in range(3)]
        for arm in ("auto", "no store", "no design")
    )
    assert median(whole) < 0.7 * median(storeless)
    assert median(whole) < 0.5 * median(undesigned)
    assert all(each.idle < 0.15 for each in whole)


def test_a_search_with_the_same_seed_goes_the_same_way(space: Space, table: Recorded) -> None:
    one, other = (simulated(table, space, "auto", 1, workers=2, minutes=5) for _ in range(2))
    assert (one.minutes, one.trials, one.idle) == (other.minutes, other.trials, other.idle)
