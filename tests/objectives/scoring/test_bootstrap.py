from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autoopt.objectives.scoring import bootstrap
from autoopt.objectives.scoring.bootstrap import bootstrap_interval, paired_difference
from autoopt.objectives.scoring.scores import (
    accuracy,
    macro_f1,
    matthews,
    mean,
    multi_label_macro_f1,
    multi_label_micro_f1,
    pearson,
    positive_f1,
    spearman,
    subset_accuracy,
)

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


CORRELATED = arrays.arrays(
    np.float64, st.tuples(st.integers(3, 40), st.just(2)), elements=st.integers(-9, 9).map(float)
)


@given(OUTCOMES)
def test_the_other_scores_of_classes_are_those_of_scikit_learn(outcomes: np.ndarray) -> None:
    from sklearn.metrics import f1_score, matthews_corrcoef

    if len(np.unique(outcomes)) > 1:  # Of a single class scikit-learn warns.
        expected = matthews_corrcoef(*outcomes.T)
        assert matthews(outcomes, once(outcomes))[0] == pytest.approx(expected, abs=1e-9)
    binary = outcomes % 2
    expected = f1_score(*binary.T, zero_division=0)
    assert positive_f1(binary, once(binary))[0] == pytest.approx(expected)


@given(st.data(), st.integers(1, 30), st.integers(1, 5))
def test_the_scores_of_several_labels_are_those_of_scikit_learn(data: st.DataObject, rows: int, labels: int) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    drawn = arrays.arrays(np.int64, (rows, labels), elements=st.integers(0, 1))
    truth, predicted = data.draw(drawn), data.draw(drawn)
    outcomes = np.concatenate([truth, predicted], axis=1)
    for statistic, average in ((multi_label_micro_f1, "micro"), (multi_label_macro_f1, "macro")):
        kind = "binary" if labels == 1 else average  # Scikit-learn takes one column for classes, not for a label.
        sides = (truth[:, 0], predicted[:, 0]) if labels == 1 else (truth, predicted)
        expected = f1_score(*sides, average=kind, zero_division=0)
        assert statistic(outcomes, once(outcomes))[0] == pytest.approx(expected)
    expected = accuracy_score(truth, predicted) if labels > 1 else accuracy_score(truth[:, 0], predicted[:, 0])
    assert subset_accuracy(outcomes, once(outcomes))[0] == pytest.approx(expected)


@given(CORRELATED)
def test_correlations_are_those_of_scipy(outcomes: np.ndarray) -> None:
    from scipy import stats

    truth, predicted = outcomes.T
    if len(set(truth)) == 1 or len(set(predicted)) == 1:
        assert pearson(outcomes, once(outcomes))[0] == spearman(outcomes, once(outcomes))[0] == 0
        return
    assert pearson(outcomes, once(outcomes))[0] == pytest.approx(stats.pearsonr(truth, predicted)[0], abs=1e-9)
    assert spearman(outcomes, once(outcomes))[0] == pytest.approx(stats.spearmanr(truth, predicted)[0], abs=1e-9)


@given(CORRELATED, st.integers(0, 99))
def test_a_resampled_correlation_is_that_of_its_rows_laid_out(outcomes: np.ndarray, seed: int) -> None:
    distinct, counts = np.unique(outcomes, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=3)
    for number in range(3):
        laid_out = np.repeat(distinct, drawn[number], axis=0)
        for statistic in (pearson, spearman):
            expected = statistic(laid_out, once(laid_out))[0]
            assert statistic(distinct, drawn)[number] == pytest.approx(expected, abs=1e-9)


def outcomes_of(right: np.ndarray) -> np.ndarray:
    """(truth, prediction) of a model that is right where ``right`` is True."""
    return np.column_stack([np.ones(len(right)), right]).astype(np.int64)


def test_a_model_that_is_no_better_rarely_seems_better_and_one_that_is_does() -> None:
    rng = np.random.default_rng(0)
    small = {"same": 0, "better": 0}
    for seed in range(60):
        theirs = rng.random(150) < 0.7
        same = np.where(rng.random(150) < 0.3, rng.random(150) < 0.7, theirs)
        better = theirs | (rng.random(150) < 0.5)
        for name, ours in (("same", same), ("better", better)):
            difference = paired_difference(
                outcomes_of(ours), outcomes_of(theirs), statistic=accuracy, seed=seed, resamples=300
            )
            small[name] += difference.p_value < 0.05
            assert difference.low <= difference.value <= difference.high
    assert small["same"] <= 7
    assert small["better"] >= 57


def test_a_model_does_not_differ_from_itself() -> None:
    outcomes = outcomes_of(np.arange(40) % 3 > 0)
    difference = paired_difference(outcomes, outcomes, statistic=macro_f1)
    assert (difference.value, difference.low, difference.high, difference.p_value) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(("better", "worse"), [(12, 4), (9, 9), (6, 0), (30, 14)])
def test_of_right_and_wrong_answers_the_p_value_is_that_of_mcnemars_exact_test(better: int, worse: int) -> None:
    from scipy import stats

    ours = np.array([True] * better + [False] * worse + [True] * 100 + [False] * 7)
    theirs = np.array([False] * better + [True] * worse + [True] * 100 + [False] * 7)
    difference = paired_difference(outcomes_of(ours), outcomes_of(theirs), statistic=accuracy, resamples=20_000)
    assert difference.value == pytest.approx((better - worse) / len(ours))
    assert difference.p_value == pytest.approx(stats.binomtest(better, better + worse).pvalue, abs=0.01)


@given(st.integers(0, 99))
def test_a_difference_does_not_depend_on_the_order_of_the_examples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = (rng.integers(0, 3, size=(30, 2)) for _ in range(2))
    order = rng.permutation(30)
    difference = paired_difference(ours, theirs, statistic=macro_f1, resamples=50)
    assert difference == paired_difference(ours[order], theirs[order], statistic=macro_f1, resamples=50)


@pytest.mark.parametrize("largest", [1, 50, 777, 2**22])
def test_drawing_in_parts_changes_nothing(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    ours, theirs = (rng.normal(size=(40, 2)) for _ in range(2))
    whole = bootstrap_interval(ours, statistic=pearson, seed=0), paired_difference(ours, theirs, statistic=pearson)
    monkeypatch.setattr(bootstrap, "COUNTS_PER_DRAW", largest)
    parts = bootstrap_interval(ours, statistic=pearson, seed=0), paired_difference(ours, theirs, statistic=pearson)
    assert parts == whole


def test_outcomes_of_other_examples_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="cannot pair the outcomes of 3 examples with those of 2"):
        paired_difference(np.ones((3, 2)), np.ones((2, 2)), statistic=accuracy)


def test_no_draw_is_larger_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "COUNTS_PER_DRAW", 300)
    sizes: list[int] = []

    def statistic(distinct: Any, counts: Any) -> Any:
        sizes.append(counts.size)
        return counts @ distinct / counts.sum(axis=1)

    bootstrap_interval(np.arange(100), statistic=statistic, seed=0)
    assert max(sizes) == 300
    assert sum(sizes) == 100 * bootstrap.RESAMPLES
