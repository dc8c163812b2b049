from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.scoring.bootstrap import Difference, bootstrap_interval
from autoopt.objectives.scoring.scores import accuracy
from autoopt.search.study.evidence import Seeds, Spread, gap
from autoopt.search.study.outcome import Outcome
from tests.search.samples import baseline, outcome, quality, record, verified

SHARES = st.floats(0, 1)
DIFFERENCE = Difference(-0.004, -0.011, 0.004, 0.31)
SEEDS = Seeds((0, 1), Spread((0.96, 0.94)), Spread((0.95, 0.93)), {2: "Diverged: the loss is nan"})


@st.composite
def scores(draw: st.DrawFn) -> Measurement:
    low, value, high = sorted(draw(st.tuples(SHARES, SHARES, SHARES)))
    return quality(value, low, high)


@given(scores(), scores())
def test_a_gap_is_the_difference_and_its_interval_is_wider_than_either_score_alone_would_make_it(
    validation: Measurement, test: Measurement
) -> None:
    difference = gap(validation, test)
    assert difference.value == validation.value - test.value
    assert difference.value - difference.low >= max(validation.value - validation.low, test.high - test.value) - 1e-12
    assert difference.high - difference.value >= max(validation.high - validation.value, test.value - test.low) - 1e-12


@given(scores(), scores())
def test_a_gap_seen_from_the_other_side_is_the_same_gap(validation: Measurement, test: Measurement) -> None:
    one, other = gap(validation, test), gap(test, validation)
    assert (one.value, one.low, one.high) == (-other.value, -other.high, -other.low)
    assert one.is_explained == other.is_explained


@pytest.mark.parametrize(
    ("test_value", "is_explained"),
    # Half-widths of 2 points each explain up to 2.83 points: more than one interval, less than the two laid end to end.
    [(0.95, True), (0.925, True), (0.922, True), (0.921, False), (0.90, False), (0.978, True), (0.979, False)],
)
def test_two_intervals_explain_what_lies_within_the_root_of_the_sum_of_their_squares(
    test_value: float, is_explained: bool
) -> None:
    difference = gap(quality(0.95, 0.93, 0.97), quality(test_value, test_value - 0.02, test_value + 0.02))
    assert difference.is_explained is is_explained


def test_only_the_sides_of_the_intervals_that_face_each_other_count() -> None:
    assert not gap(quality(0.95, 0.94, 1.0), quality(0.92, 0.5, 0.93)).is_explained
    assert gap(quality(0.95, 0.5, 0.96), quality(0.92, 0.91, 0.93)).is_explained


def test_a_score_that_is_better_when_lower_has_its_gap_turned_round() -> None:
    validation = replace(quality(0.10, 0.09, 0.11), direction=Direction.MINIMIZE)
    test = replace(quality(0.20, 0.18, 0.22), direction=Direction.MINIMIZE)
    difference = gap(validation, test)
    assert difference.value == pytest.approx(0.10)
    assert difference.low > 0


def test_a_perfect_score_on_few_examples_does_not_make_a_gap() -> None:
    perfect = replace(quality(1.0, 1.0, 1.0), samples=40)
    assert gap(perfect, replace(quality(0.925, 0.85, 0.98), samples=40)).is_explained
    assert not gap(replace(perfect, samples=4000), quality(0.925, 0.90, 0.95)).is_explained


def test_splits_of_one_kind_rarely_have_a_gap_that_is_not_explained() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    explained = []
    for seed in range(200):
        splits = []
        for size in (200, 300):
            right = (rng.random(size) < 0.9).astype(np.int64)
            rows = np.column_stack([np.ones(size, dtype=np.int64), right])
            low, high = bootstrap_interval(rows, statistic=accuracy, seed=seed, resamples=300)
            splits.append(replace(quality(float(right.mean()), low, high), samples=size))
        explained.append(gap(*splits).is_explained)
    assert 0.90 <= np.mean(explained) <= 0.99


def test_the_spread_is_that_of_a_sample() -> None:
    assert SEEDS.quality.mean == pytest.approx(0.95)
    assert SEEDS.quality.deviation == pytest.approx(0.014142, abs=1e-6)
    assert Spread((0.9,)).deviation == 0


def test_a_verified_model_has_its_difference_and_its_seeds_among_its_measurements() -> None:
    measured = verified(record(), difference=DIFFERENCE, seeds=SEEDS).measurements
    difference = measured["test_quality_difference"]
    assert (difference.value, difference.low, difference.high, difference.samples) == (-0.004, -0.011, 0.004, 400)
    assert measured["test_quality_p_value"].value == 0.31
    assert measured["test_quality_mean_of_seeds"].value == pytest.approx(0.94)
    assert measured["quality_deviation_of_seeds"].samples == 2
    assert all(name == item.name for name, item in measured.items())
    assert not [name for name in verified(baseline()).measurements if "difference" in name or "seeds" in name]


def test_an_outcome_survives_its_json_with_difference_gap_and_seeds() -> None:
    best = verified(record(3), difference=DIFFERENCE, seeds=SEEDS)
    before = outcome(models=(best,), named={"champion": 3})
    document = json.loads(json.dumps(before.to_json()))
    assert Outcome.from_json(document) == before
    [model] = document["models"]
    assert model["difference"] == {"value": -0.004, "low": -0.011, "high": 0.004, "p_value": 0.31}
    assert model["gap"]["value"] == pytest.approx(0.01)
    assert model["gap"]["is_explained"] is True
    assert model["seeds"]["quality"]["values"] == [0.96, 0.94]
    assert model["seeds"]["failed"] == {"2": "Diverged: the loss is nan"}
    assert document["baseline"]["difference"] is None


def test_a_gap_needs_both_scores() -> None:
    model = verified(record())
    assert model.gap is not None
    assert replace(model, test={}).gap is None
    without = replace(model.record, measurements={})
    assert replace(model, record=without).gap is None
