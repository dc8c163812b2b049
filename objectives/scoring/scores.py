"""Scores of classes, tags and numbers, each a statistic of distinct rows and of how often each occurs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from autoopt.objectives.scoring.bootstrap import Statistic


def mean(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """The mean of the first number of each row."""
    return (counts @ distinct.reshape(len(distinct), -1)[:, 0]) / counts.sum(axis=1)  # type: ignore[no-any-return]


def mean_of(column: int) -> Statistic:
    """The mean of one number of each row."""

    def statistic(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
        return mean(distinct[:, column], counts)

    return statistic


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


def pearson(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Pearson's correlation; 0 where one side never changes."""
    import numpy as np

    truth, prediction = (np.broadcast_to(side, counts.shape) for side in distinct.T.astype("float64"))
    return _correlation(truth, prediction, counts)


def spearman(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Spearman's correlation: Pearson's of the ranks, equal values having the mean of theirs."""
    truth, prediction = (_ranks(side, counts) for side in distinct.T.astype("float64"))
    return _correlation(truth, prediction, counts)


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
