from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autoopt.objectives.statistics import accuracy, bootstrap_interval, macro_f1, mean

OUTCOMES = arrays.arrays(np.int64, st.tuples(st.integers(1, 60), st.just(2)), elements=st.integers(0, 6))


def once(outcomes: np.ndarray) -> np.ndarray:
    return np.ones((1, len(outcomes)), dtype=np.int64)


@given(OUTCOMES)
def test_accuracy_and_macro_f1_are_those_of_scikit_learn(outcomes: np.ndarray) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    truth, predicted = outcomes.T
    assert accuracy(outcomes, once(outcomes))[0] == pytest.approx(accuracy_score(truth, predicted))
    expected = f1_score(truth, predicted, average="macro", zero_division=0)
    assert macro_f1(outcomes, once(outcomes))[0] == pytest.approx(expected)


@given(OUTCOMES, st.integers(0, 2**32 - 1))
def test_a_resample_scores_as_its_rows_laid_out(outcomes: np.ndarray, seed: int) -> None:
    from sklearn.metrics import f1_score

    distinct, counts = np.unique(outcomes, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=1)
    truth, predicted = np.repeat(distinct, drawn[0], axis=0).T
    expected = f1_score(truth, predicted, average="macro", zero_division=0)
    assert macro_f1(distinct, drawn)[0] == pytest.approx(expected)


@given(OUTCOMES, st.integers(0, 99))
def test_the_interval_repeats_with_its_seed_and_lies_within_the_scale(outcomes: np.ndarray, seed: int) -> None:
    interval = bootstrap_interval(outcomes, statistic=macro_f1, seed=seed, resamples=50)
    assert interval == bootstrap_interval(outcomes, statistic=macro_f1, seed=seed, resamples=50)
    assert 0 <= interval[0] <= interval[1] <= 1


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        sample = (rng.random(200) < 0.7).astype(np.int64)
        low, high = bootstrap_interval(sample, statistic=mean, seed=seed, resamples=400)
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_a_sample_without_spread_has_an_interval_without_width() -> None:
    assert bootstrap_interval(np.ones(50, dtype=np.int64), statistic=mean, seed=0) == (1.0, 1.0)
