"""The acquisition function: its mathematics against sampling, its choice against chance."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoopt.search.choosing.acquisition import (
    CROSSED,
    MUTATED,
    UNIFORM,
    Constraint,
    candidates_near,
    most_promising,
    non_dominated,
    normal_scores,
    reference_point,
)
from autoopt.search.choosing.front import hypervolume
from autoopt.search.choosing.gaussian_process import (
    Encoding,
    GaussianProcess,
    Parameters,
    Posterior,
    RidgeModel,
    expected_hypervolume_improvement,
    probability_below,
    relevance,
    weighted_sum,
)
from autoopt.strategies.knobs import Choice

points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


def best(candidates: Sequence[Parameters], *observed: Any, **settings: Any) -> int:
    """Return the index of the most promising candidate."""
    return most_promising(candidates, *observed, **settings)[0]


@given(points)
def test_non_dominated_rows_are_those_that_no_other_row_dominates(rows: list[tuple[int, int]]) -> None:
    expected = {a for a in rows if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in rows)}
    front = non_dominated(np.array(rows, dtype=float)).tolist()
    assert {tuple(map(int, row)) for row in front} == expected
    assert len(front) == len(expected)


@given(points)
def test_the_hypervolume_is_the_number_of_cells_that_are_dominated(rows: list[tuple[int, int]]) -> None:
    cells = {(x, y) for x in range(10) for y in range(10) if any(a <= x and b <= y for a, b in rows)}
    assert hypervolume(rows, (10, 10)) == len(cells)


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=8))
def test_the_hypervolume_of_three_objectives_is_that_of_the_cubes(rows: list[tuple[int, int, int]]) -> None:
    cubes = itertools.product(range(5), repeat=3)
    dominated = sum(any(all(a <= b for a, b in zip(row, cube, strict=True)) for row in rows) for cube in cubes)
    assert hypervolume(rows, (5, 5, 5)) == dominated


@settings(max_examples=25, deadline=None)
@given(points, st.integers(0, 99))
def test_the_expected_improvement_is_the_mean_gain_in_hypervolume(rows: list[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    front, corner = non_dominated(np.array(rows, dtype=float)), np.array([10.0, 10.0])
    mean, std = rng.uniform(0, 10, 2), rng.uniform(0.3, 3, 2)
    posteriors = (Posterior(mean[[k]], std[[k]]) for k in range(2))
    improvement = expected_hypervolume_improvement(front, corner, *posteriors)[0]
    steps = np.linspace(-6, 6, 49)  # In standard deviations, a grid over both values.
    density = np.exp(-(steps**2) / 2) / np.exp(-(steps**2) / 2).sum()
    before = hypervolume(front, (10, 10))
    integral = 0.0
    for i, j in itertools.product(range(len(steps)), repeat=2):
        gained = hypervolume(np.vstack([front, mean + std * [steps[i], steps[j]]]), (10, 10)) - before
        integral += density[i] * density[j] * gained
    assert improvement == pytest.approx(integral, rel=0.02, abs=0.01)


def recipes(count: int, seed: int) -> list[dict[str, object]]:
    rng = random.Random(seed)
    drawn = []
    for _ in range(count):
        recipe: dict[str, object] = {"a": rng.choice(["x", "y", "z"]), "n": rng.choice([1, 2, 4, 8])}
        if recipe["a"] == "x":
            recipe["only x"] = rng.choice([True, False])
        drawn.append(recipe)
    return drawn


def loss(recipe: dict[str, object]) -> float:
    return {"x": 0.0, "y": 1.0, "z": 3.0}[str(recipe["a"])] + float(str(recipe["n"])) / 4


def test_a_process_learns_what_matters_and_is_sure_of_what_it_saw() -> None:
    seen, others = recipes(40, 0), recipes(40, 1)
    encoding = Encoding.of([*seen, *others])
    rows = encoding.rows(seen)
    process = GaussianProcess(encoding.distances(rows, rows), np.array([loss(recipe) for recipe in seen]))
    posterior = process.predict(encoding.distances(encoding.rows(others), rows))
    truth = np.array([loss(recipe) for recipe in others])
    assert np.corrcoef(posterior.mean, truth)[0, 1] > 0.95
    at_seen = process.predict(encoding.distances(rows, rows))
    assert at_seen.std.max() < posterior.std.max() + 1e-9


CUTS = {"none": (0.9, 10.0), "a": (0.89, 7.0), "b": (0.87, 5.0), "c": (0.86, 3.5), "d": (0.82, 2.0)}
RUNTIMES = {"torch": (0.0, 1.0), "int8": (0.0, 0.4), "half": (0.0, 0.8), "exits": (-0.01, 0.9), "fp32": (0.0, 0.7)}


def cost(recipe: dict[str, str]) -> tuple[float, float]:
    """Loss and latency of a cut model in a runtime."""
    (quality, latency), (more, share) = CUTS[recipe["cut"]], RUNTIMES[recipe["runtime"]]
    return -quality - more, latency * share


@pytest.mark.parametrize("tried", list(CUTS))
def test_what_a_choice_was_worth_in_one_recipe_is_expected_of_it_in_others(tried: str) -> None:
    seen = [{"cut": cut, "runtime": "torch"} for cut in CUTS]
    seen += [{"cut": tried, "runtime": runtime} for runtime in RUNTIMES if runtime != "torch"]
    others = [{"cut": cut, "runtime": runtime} for cut in CUTS for runtime in RUNTIMES]
    others = [recipe for recipe in others if recipe not in seen]
    chosen = []
    for _ in range(3):
        place = best(others, seen, np.array([cost(recipe) for recipe in seen]))
        chosen.append(others[place]["runtime"])
        seen.append(others.pop(place))
    assert chosen == ["int8"] * 3


def test_leave_one_out_residuals_are_those_of_a_fit_without_the_value() -> None:
    seen = recipes(30, 0)
    encoding = Encoding.of(seen)
    rows, values = encoding.rows(seen), np.array([loss(recipe) for recipe in seen])
    values -= values.mean()
    features, distances = encoding.features(rows), encoding.distances(rows, rows)
    ridge, process = RidgeModel(features, values), GaussianProcess(distances, values)
    for place in range(5):
        rest = np.arange(30) != place
        alone = RidgeModel(features[rest], values[rest]).predict(features[place : place + 1])[0]
        assert ridge.loo_residuals[place] == pytest.approx(values[place] - alone, abs=0.05)
        fitted = GaussianProcess(distances[:, rest][:, :, rest], values[rest])
        without = fitted.predict(distances[:, place : place + 1][:, :, rest])
        assert process.loo_residuals[place] == pytest.approx(values[place] - without.mean[0], abs=0.15)


def test_numbers_are_as_far_apart_as_their_places_and_what_is_absent_is_all_the_way() -> None:
    encoding = Encoding.of([{"n": 1, "s": "a"}, {"n": 2, "s": "b"}, {"n": 8}, {"n": 4, "s": "a"}])
    rows = encoding.rows([{"n": 1, "s": "a"}, {"n": 8}])
    others = encoding.rows([{"n": 2, "s": "a"}, {"n": 8, "s": "b"}, {"n": 1}])
    distances = encoding.distances(rows, others)
    numbers, words = (distances[encoding.names.index(name)] for name in ("n", "s"))
    assert numbers.tolist() == pytest.approx(np.array([[1 / 3, 1, 0], [2 / 3, 0, 1]]))
    assert words.tolist() == [[0, 1, 1], [1, 1, 0]]
    assert weighted_sum(distances, np.array([3.0, 1.0])).tolist() == (3 * numbers + words).tolist()


def test_the_chance_of_keeping_a_limit_is_that_of_a_normal_value() -> None:
    posterior = Posterior(np.array([1.0, 1.0, 3.0]), np.array([1.0, 0.1, 1.0]))
    assert probability_below(1.0, posterior).tolist() == pytest.approx([0.5, 0.5, 0.02275], abs=1e-4)


def test_only_the_order_of_values_counts() -> None:
    assert normal_scores(np.array([3.0, 1.0, 2.0])).tolist() == normal_scores(np.array([1e9, 1.0, 2.0])).tolist()


def test_the_reference_point_is_a_tenth_of_the_range_beyond_the_worst_values() -> None:
    assert reference_point(np.array([[0.0, 10.0], [1.0, 30.0], [0.5, 5.0]])).tolist() == pytest.approx([1.1, 32.5])


def values_of(chosen: list[dict[str, object]]) -> Any:
    """Two losses that want different things: few and many ``n``."""
    return np.array([[loss(recipe), 5.0 - float(str(recipe["n"])) / 4] for recipe in chosen])


def test_the_choice_is_better_than_a_random_one() -> None:
    seen = recipes(12, 3)
    candidates = [recipe for recipe in recipes(60, 4) if recipe not in seen]
    corner, before = (6.0, 6.0), values_of(seen)

    def gain(recipe: dict[str, object]) -> float:
        return hypervolume(np.vstack([before, values_of([recipe])]), corner) - hypervolume(before, corner)

    highest = gain(candidates[best(candidates, seen, before)])
    assert highest >= np.quantile([gain(recipe) for recipe in candidates], 0.8)


def test_what_is_expected_to_break_a_limit_is_left_aside() -> None:
    seen = recipes(30, 5)
    size = np.array([9.0 if recipe["a"] == "x" else 1.0 for recipe in seen])
    candidates = recipes(40, 6)
    free = candidates[best(candidates, seen, values_of(seen))]
    constrained = candidates[best(candidates, seen, values_of(seen), constraints=[Constraint(size, 5.0)])]
    assert free["a"] == "x"
    assert constrained["a"] != "x"


def test_what_serving_costs_is_learned_from_what_reshapes_alone() -> None:
    """Twenty parameters of the training would drown the one that decides, with twelve recipes seen."""
    feasible = 0
    for seed in range(20):
        rng = random.Random(seed)
        drawn = [
            {"cut": rng.choice("abcd"), **{f"trained{n}": rng.choice("uvwxyz") for n in range(20)}} for _ in range(52)
        ]
        seen, candidates = drawn[:12], drawn[12:]
        size = np.array([9.0 if recipe["cut"] in "ab" else 1.0 for recipe in seen])
        values = np.array([[rng.random(), rng.random()] for _ in seen])
        constraints = [Constraint(size, 5.0, is_cost=True)]
        place = best(candidates, seen, values, constraints=constraints, reshapes=lambda name: name == "cut")
        feasible += candidates[place]["cut"] in "cd"
    assert feasible == 20


def test_where_nothing_keeps_the_limit_it_is_looked_for_first() -> None:
    seen = [recipe for recipe in recipes(60, 7) if recipe["a"] != "z"]
    size = np.array([9.0 if recipe["a"] == "x" else 7.0 for recipe in seen])
    candidates = recipes(40, 8)
    choice = candidates[best(candidates, seen, values_of(seen), constraints=[Constraint(size, 5.0)])]
    assert choice["a"] != "x"


def test_dear_candidates_have_to_be_worth_more() -> None:
    seen, candidates = recipes(12, 3), recipes(40, 4)
    first = best(candidates, seen, values_of(seen))
    seconds = np.ones(len(candidates))
    seconds[[place for place, recipe in enumerate(candidates) if recipe == candidates[first]]] = 1e9
    assert candidates[best(candidates, seen, values_of(seen), seconds=seconds)] != candidates[first]


def test_what_is_running_is_not_tried_again() -> None:
    seen, candidates = recipes(12, 3), recipes(40, 4)
    first = candidates[best(candidates, seen, values_of(seen))]
    second = candidates[best(candidates, seen, values_of(seen), running=[first])]
    assert second != first


def test_several_are_chosen_as_if_those_before_were_running() -> None:
    seen, candidates = recipes(12, 3), recipes(40, 4)
    values = values_of(seen)
    chosen = most_promising(candidates, seen, values, count=5)
    assert len(set(chosen)) == 5
    assert chosen[0] == best(candidates, seen, values)
    one_by_one = list[int]()
    for _ in range(5):
        others = [index for index in range(len(candidates)) if index not in one_by_one]
        left = [candidates[index] for index in others]
        running = [candidates[index] for index in one_by_one]
        one_by_one.append(others[best(left, seen, values, running=running)])
    assert chosen == one_by_one
    assert sorted(most_promising(candidates[:3], seen, values, count=9)) == [0, 1, 2]


def test_a_value_that_the_encoding_lacks_is_not_a_parameter_that_is_absent() -> None:
    encoding = Encoding.of([{"s": "a"}, {"s": "b"}])
    rows = encoding.rows([{"s": "a"}, {"s": "new"}, {}])
    distances = encoding.distances(rows, rows)[0]
    assert distances[1, 2] == 1.0
    assert len({float(row[0]) for row in rows}) == 3


def test_a_value_at_its_limit_keeps_it() -> None:
    seen = recipes(30, 5)
    size = np.array([5.0 if recipe["a"] == "x" else 1.0 for recipe in seen])
    candidates = recipes(40, 6)
    chosen = [
        best(candidates, seen, values_of(seen), constraints=[Constraint(at_limit, 5.0)])
        for at_limit in (size, np.minimum(size, 4.999))
    ]
    assert chosen[0] == chosen[1]
    assert candidates[chosen[0]]["a"] == "x"


def test_weights_follow_what_the_values_depend_on_however_small_the_values_are() -> None:
    generator = np.random.default_rng(0)
    places = generator.uniform(size=(2, 30))
    distances = np.abs(places[:, :, None] - places[:, None, :])
    weights = relevance(distances, 1e-3 * places[0])
    assert weights.mean() == pytest.approx(1.0)
    assert weights[0] > 1.5 > 0.5 > weights[1]


def test_near_good_recipes_are_mutations_of_one_and_crossings_of_two() -> None:
    good: list[dict[str, Any]] = [{"rate": 1, "runtime": 1}, {"rate": 2, "runtime": 2}]
    knobs = {"rate": Choice(1, 2, 3), "runtime": Choice(1, 2, 3)}
    asked: list[str] = []

    def build(suggest: Any) -> dict[str, Any]:
        return {name: suggest(name, knob) for name, knob in knobs.items()}

    def is_cheap(name: str) -> bool:
        asked.append(name)
        return name == "runtime"

    drawn = list(candidates_near(good, build, random.Random(0), is_cheap=is_cheap))
    assert len(drawn) == UNIFORM + MUTATED + CROSSED
    assert {asked.count(name) for name in knobs} <= {CROSSED, 2 * CROSSED}
    assert len(list(candidates_near(good, build, random.Random(0)))) == UNIFORM + MUTATED
