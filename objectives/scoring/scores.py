"""Scores of classes, tags and numbers, each a statistic of distinct rows and their counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from autoopt.objectives.scoring.bootstrap import Statistic


def mean(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the mean of the first number of each row."""
    return (counts @ distinct.reshape(len(distinct), -1)[:, 0]) / counts.sum(axis=1)  # type: ignore[no-any-return]


def mean_of(column: int) -> Statistic:
    """Return the statistic that is the mean of one column."""

    def statistic(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
        return mean(distinct[:, column], counts)

    return statistic


def accuracy(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the share of rows (truth, prediction) whose two labels are equal."""
    return mean((distinct[:, 0] == distinct[:, 1]).astype("int64"), counts)


def macro_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the mean F1 over the classes that occur in truth or prediction, as scikit-learn does by default."""
    import numpy as np

    classes = np.unique(distinct)
    return _macro_f1(distinct[:, :1] == classes, distinct[:, 1:] == classes, counts, only_occurring=True)


def positive_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return F1 of class 1 of two, such as 'paraphrase'."""
    return _micro_f1(distinct[:, :1] == 1, distinct[:, 1:] == 1, counts)


def matthews(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return Matthews' correlation for any number of classes, R_K (Gorodkin 2004, eq. 8); 0 if undefined."""
    import numpy as np

    classes = np.unique(distinct)
    truth = counts @ (distinct[:, :1] == classes).astype("float64")
    prediction = counts @ (distinct[:, 1:] == classes).astype("float64")
    correct = counts @ (distinct[:, 0] == distinct[:, 1]).astype("float64")
    total = counts.sum(axis=1).astype("float64")
    covariance = correct * total - (truth * prediction).sum(axis=1)
    variances = (total**2 - (prediction**2).sum(axis=1)) * (total**2 - (truth**2).sum(axis=1))
    return np.divide(covariance, np.sqrt(variances), out=np.zeros(len(counts)), where=variances > 0)  # type: ignore[no-any-return]


def subset_accuracy(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the share of rows whose labels are all correct."""
    truth, prediction = _halves(distinct)
    return mean((truth == prediction).all(axis=1).astype("int64"), counts)


def multi_label_micro_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return F1 over all labels of all rows together."""
    return _micro_f1(*_halves(distinct), counts)


def multi_label_macro_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the mean F1 over all labels, 0 for one that never occurs."""
    return _macro_f1(*_halves(distinct), counts, only_occurring=False)


def pearson(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return Pearson's correlation; 0 if one side is constant."""
    import numpy as np

    truth, prediction = (np.broadcast_to(side, counts.shape) for side in distinct.T.astype("float64"))
    return _correlation(truth, prediction, counts)


def spearman(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return Spearman's correlation: Pearson's of the ranks, ties sharing their mean rank."""
    truth, prediction = (_ranks(side, counts) for side in distinct.T.astype("float64"))
    return _correlation(truth, prediction, counts)


def micro_f1(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return F1 from rows (correct, predicted, true), numbers of spans."""
    import numpy as np

    correct, predicted, true = (counts @ distinct[:, :3].astype("float64")).T
    return np.divide(2 * correct, predicted + true, out=np.zeros(len(counts)), where=predicted + true > 0)  # type: ignore[no-any-return]


def _halves(distinct: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    middle = distinct.shape[1] // 2
    return distinct[:, :middle] > 0, distinct[:, middle:] > 0


def _micro_f1(truth: NDArray[Any], prediction: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    correct = counts @ (truth & prediction).sum(axis=1)
    marked = counts @ (truth.sum(axis=1) + prediction.sum(axis=1))
    return np.divide(2.0 * correct, marked, out=np.zeros(len(counts)), where=marked > 0)  # type: ignore[no-any-return]


def _macro_f1(
    truth: NDArray[Any], prediction: NDArray[Any], counts: NDArray[Any], *, only_occurring: bool
) -> NDArray[Any]:
    import numpy as np

    correct = counts @ (truth & prediction).astype("int64")
    marked = counts @ (truth.astype("int64") + prediction.astype("int64"))
    f1 = np.divide(2.0 * correct, marked, out=np.zeros(marked.shape), where=marked > 0)
    return f1.sum(axis=1) / ((marked > 0).sum(axis=1) if only_occurring else f1.shape[1])  # type: ignore[no-any-return]


def _correlation(truth: NDArray[Any], prediction: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the weighted correlation of two arrays of shape (resamples, distinct)."""
    import numpy as np

    weights = counts / counts.sum(axis=1, keepdims=True)
    centered_truth = truth - (weights * truth).sum(axis=1, keepdims=True)
    centered_prediction = prediction - (weights * prediction).sum(axis=1, keepdims=True)
    variances = (weights * centered_truth**2).sum(axis=1) * (weights * centered_prediction**2).sum(axis=1)
    covariance = (weights * centered_truth * centered_prediction).sum(axis=1)
    return np.divide(covariance, np.sqrt(variances), out=np.zeros(len(counts)), where=variances > 1e-24)  # type: ignore[no-any-return]


def _ranks(values: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the rank of each distinct value in each resample, of shape (resamples, distinct)."""
    import numpy as np

    _, index = np.unique(values, return_inverse=True)
    value_counts = np.zeros((len(counts), int(index.max()) + 1))
    np.add.at(value_counts.T, index, counts.T)
    smaller = np.cumsum(value_counts, axis=1) - value_counts
    return (smaller + (value_counts + 1) / 2)[:, index]


def ratio_of_sums(numerator: int, denominator: int) -> Statistic:
    """Return the statistic that is the sum of one column divided by that of another; 0 if the latter is 0."""

    def statistic(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        dividend, divisor = (counts @ distinct[:, [numerator, denominator]].astype("float64")).T
        return np.divide(dividend, divisor, out=np.zeros(len(counts)), where=divisor > 0)  # type: ignore[no-any-return]

    return statistic


def macro_f1_of_counts(first: int) -> Statistic:
    """Return the statistic that is the mean F1 over types, with (correct, predicted, true) in three columns each.

    The columns begin at ``first``. Only types that occur in truth or prediction count; 0 if none does.
    """

    def statistic(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        sums = (counts @ distinct[:, first:].astype("float64")).reshape(len(counts), -1, 3)
        correct, marked = sums[:, :, 0], sums[:, :, 1] + sums[:, :, 2]
        f1 = np.divide(2 * correct, marked, out=np.zeros(marked.shape), where=marked > 0)
        return f1.sum(axis=1) / np.maximum(1, (marked > 0).sum(axis=1))  # type: ignore[no-any-return]

    return statistic
