"""Confidence intervals by bootstrap, the comparison of two models on the same examples, and the scores they are of.

A score is a function of the distinct rows of a sample and of how often each of them occurs. Drawing n examples with
replacement is then drawing counts from a multinomial distribution: no resample is ever laid out row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Statistic: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
    """Of the distinct rows of a sample and how often each occurs, shape (resamples, distinct), gives (resamples,)."""

CONFIDENCE = 0.95
RESAMPLES = 1000
LARGEST_DRAW = 2**22
"""So many counts are drawn at a time: a large test split need not fit into memory a thousand times."""


def of_all(values: NDArray[Any], *, statistic: Statistic) -> float:
    """``statistic`` of the rows of ``values``, each counted once."""
    import numpy as np

    return float(statistic(values, np.ones((1, len(values)), dtype=np.int64))[0])


def bootstrap_interval(
    values: NDArray[Any], *, statistic: Statistic, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the ends of the 95 % percentile interval of ``statistic`` over the rows of ``values``.

    The same values and seed give the same interval, whatever the order of the rows.
    """
    import numpy as np

    distinct, counts = np.unique(values, axis=0, return_counts=True)
    drawn = _draws(counts, seed, resamples)
    low, high = np.quantile(np.concatenate([statistic(distinct, part) for part in drawn]), _tails())
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """How much better one model is than another on the same examples, with its 95 % interval."""

    value: float
    low: float
    high: float
    p_value: float
    """Two-sided: how often chance alone would make the difference this large, or larger."""


def paired_difference(
    ours: NDArray[Any], theirs: NDArray[Any], *, statistic: Statistic, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """Compare the outcomes of two models on the same examples, row for row: ``statistic`` of ours less theirs.

    The interval is of the paired bootstrap; the p-value of the sign-flip test on outcomes exchanged at random between
    the models (approximate randomization, Noreen 1989). Raises ``ValueError`` where the examples are not the same.
    """
    import numpy as np

    if len(ours) != len(theirs):
        raise ValueError(f"outcomes of {len(ours)} and of {len(theirs)} examples cannot be paired")
    value = of_all(ours, statistic=statistic) - of_all(theirs, statistic=statistic)
    pairs, counts = np.unique(np.stack([ours, theirs], axis=1), axis=0, return_counts=True)
    one, other = pairs[:, 0], pairs[:, 1]
    drawn = _draws(counts, seed, resamples)
    low, high = np.quantile(np.concatenate([statistic(one, p) - statistic(other, p) for p in drawn]), _tails())
    return Difference(
        float(value), float(low), float(high), _chance(one, other, counts, value, statistic, seed, resamples)
    )


def _chance(
    ours: NDArray[Any],
    theirs: NDArray[Any],
    counts: NDArray[Any],
    value: float,
    statistic: Statistic,
    seed: int,
    resamples: int,
) -> float:
    """Of pairs of outcomes and how often each occurs."""
    import numpy as np

    generator, both = np.random.default_rng(seed), np.concatenate([ours, theirs])
    as_large = 0
    for size in _parts(resamples, len(both)):
        exchanged = generator.binomial(counts, 0.5, size=(size, len(counts)))
        one = statistic(both, np.concatenate([counts - exchanged, exchanged], axis=1))
        other = statistic(both, np.concatenate([exchanged, counts - exchanged], axis=1))
        as_large += int((np.abs(one - other) >= abs(value) - 1e-12).sum())
    return (as_large + 1) / (resamples + 1)


def _draws(counts: NDArray[Any], seed: int, resamples: int) -> Iterator[NDArray[Any]]:
    """Counts of resamples, (part of the resamples, distinct) at a time; the same whatever the parts."""
    import numpy as np

    generator = np.random.default_rng(seed)
    for size in _parts(resamples, len(counts)):
        yield generator.multinomial(counts.sum(), counts / counts.sum(), size=size)


def _parts(resamples: int, rows: int) -> Iterator[int]:
    at_a_time = max(1, LARGEST_DRAW // rows)
    for done in range(0, resamples, at_a_time):
        yield min(at_a_time, resamples - done)


def _tails() -> list[float]:
    tail = (1 - CONFIDENCE) / 2
    return [tail, 1 - tail]


# Of plain numbers, one to a row


def mean(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """The mean of the first number of each row."""
    return (counts @ distinct.reshape(len(distinct), -1)[:, 0]) / counts.sum(axis=1)  # type: ignore[no-any-return]


def mean_of(column: int) -> Statistic:
    """The mean of one number of each row."""

    def statistic(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
        return mean(distinct[:, column], counts)

    return statistic


# Of rows (truth, prediction), each a class


def accuracy(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Share of the rows whose two labels are the same."""
    return mean((distinct[:, 0] == distinct[:, 1]).astype("int64"), counts)


def macro_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Mean of F1 over the classes.

    As in scikit-learn with its defaults: the classes are those that occur in truth or prediction of the sample.
    """
    import numpy as np

    classes = np.unique(distinct)
    return _macro(distinct[:, :1] == classes, distinct[:, 1:] == classes, counts, of_those_that_occur=True)


def positive_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """F1 of the class 1 of two: 'paraphrase' of a task that tells paraphrases from others, say."""
    return _micro(distinct[:, :1] == 1, distinct[:, 1:] == 1, counts)


def matthews(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Matthews' correlation of any number of classes, R_K (Gorodkin 2004, eq. 8); 0 where it is not defined."""
    import numpy as np

    classes = np.unique(distinct)
    truth = counts @ (distinct[:, :1] == classes).astype("float64")
    prediction = counts @ (distinct[:, 1:] == classes).astype("float64")
    right = counts @ (distinct[:, 0] == distinct[:, 1]).astype("float64")
    total = counts.sum(axis=1).astype("float64")
    together = right * total - (truth * prediction).sum(axis=1)
    spread = (total**2 - (prediction**2).sum(axis=1)) * (total**2 - (truth**2).sum(axis=1))
    return np.divide(together, np.sqrt(spread), out=np.zeros(len(counts)), where=spread > 0)  # type: ignore[no-any-return]


# Of rows with a 0 or 1 for each label, first the truth and then the prediction


def subset_accuracy(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Share of the rows whose labels are all as they should be."""
    truth, prediction = _halves(distinct)
    return mean((truth == prediction).all(axis=1).astype("int64"), counts)


def multi_label_micro_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """F1 over all labels of all rows together."""
    return _micro(*_halves(distinct), counts)


def multi_label_macro_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Mean over the labels of their F1, 0 for one that never occurs."""
    return _macro(*_halves(distinct), counts, of_those_that_occur=False)


# Of rows (truth, prediction), each a number


def pearson(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Pearson's correlation; 0 where one side never changes."""
    import numpy as np

    truth, prediction = (np.broadcast_to(side, counts.shape) for side in distinct.T.astype("float64"))
    return _correlation(truth, prediction, counts)


def spearman(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Spearman's correlation: Pearson's of the ranks, equal values having the mean of theirs."""
    truth, prediction = (_ranks(side, counts) for side in distinct.T.astype("float64"))
    return _correlation(truth, prediction, counts)


# Of rows that are added up


def micro_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """F1 from rows (right, predicted, true): how many were found rightly, found at all, and there to be found."""
    import numpy as np

    right, predicted, true = (counts @ distinct[:, :3].astype("float64")).T
    return np.divide(2 * right, predicted + true, out=np.zeros(len(counts)), where=predicted + true > 0)  # type: ignore[no-any-return]


def _halves(distinct: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    middle = distinct.shape[1] // 2
    return distinct[:, :middle] > 0, distinct[:, middle:] > 0


def _micro(truth: NDArray[Any], prediction: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    both = counts @ (truth & prediction).sum(axis=1)
    either = counts @ (truth.sum(axis=1) + prediction.sum(axis=1))
    return np.divide(2.0 * both, either, out=np.zeros(len(counts)), where=either > 0)  # type: ignore[no-any-return]


def _macro(
    truth: NDArray[Any], prediction: NDArray[Any], counts: NDArray[Any], *, of_those_that_occur: bool
) -> NDArray[Any]:
    import numpy as np

    both = counts @ (truth & prediction).astype("int64")
    either = counts @ (truth.astype("int64") + prediction.astype("int64"))
    f1 = np.divide(2.0 * both, either, out=np.zeros(either.shape), where=either > 0)
    return f1.sum(axis=1) / ((either > 0).sum(axis=1) if of_those_that_occur else f1.shape[1])  # type: ignore[no-any-return]


def _correlation(ours: NDArray[Any], theirs: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Of two arrays of shape (resamples, distinct)."""
    import numpy as np

    share = counts / counts.sum(axis=1, keepdims=True)
    one = ours - (share * ours).sum(axis=1, keepdims=True)
    other = theirs - (share * theirs).sum(axis=1, keepdims=True)
    spread = (share * one**2).sum(axis=1) * (share * other**2).sum(axis=1)
    together = (share * one * other).sum(axis=1)
    return np.divide(together, np.sqrt(spread), out=np.zeros(len(counts)), where=spread > 1e-24)  # type: ignore[no-any-return]


def _ranks(values: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """The rank of each distinct value in each resample, (resamples, distinct)."""
    import numpy as np

    _, place = np.unique(values, return_inverse=True)
    of_value = np.zeros((len(counts), int(place.max()) + 1))
    np.add.at(of_value.T, place, counts.T)
    before = np.cumsum(of_value, axis=1) - of_value
    return (before + (of_value + 1) / 2)[:, place]


def ratio_of(part: int, whole: int) -> Statistic:
    """The sum of one column over that of another; 0 where there is nothing to divide by."""

    def statistic(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        above, below = (counts @ distinct[:, [part, whole]].astype("float64")).T
        return np.divide(above, below, out=np.zeros(len(counts)), where=below > 0)  # type: ignore[no-any-return]

    return statistic


def macro_f1_of_counts(first: int) -> Statistic:
    """Mean of F1 over types, each of which has (right, predicted, true) in three columns from ``first`` on.

    The types are those that occur in truth or prediction of the sample; 0 where none does.
    """

    def statistic(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        sums = (counts @ distinct[:, first:].astype("float64")).reshape(len(counts), -1, 3)
        right, found = sums[:, :, 0], sums[:, :, 1] + sums[:, :, 2]
        f1 = np.divide(2 * right, found, out=np.zeros(found.shape), where=found > 0)
        return f1.sum(axis=1) / np.maximum(1, (found > 0).sum(axis=1))  # type: ignore[no-any-return]

    return statistic
