"""Confidence intervals by bootstrap, and the scores that they are drawn around."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Statistic: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
    """Of the distinct rows of a sample and how often each occurs, shape (resamples, distinct), gives (resamples,)."""

CONFIDENCE = 0.95
RESAMPLES = 1000


def bootstrap_interval(
    values: NDArray[np.int64], *, statistic: Statistic, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the ends of the 95 % percentile interval of ``statistic`` over the rows of ``values``.

    Drawing n rows with replacement is drawing the counts of the distinct rows from a multinomial distribution, so no
    resample is ever laid out row by row. The same values and seed give the same interval.
    """
    import numpy as np

    distinct, counts = np.unique(values, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=resamples)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(statistic(distinct, drawn), [tail, 1 - tail])
    return float(low), float(high)


def mean(distinct: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of plain numbers."""
    return (counts @ distinct) / counts.sum(axis=1)  # type: ignore[no-any-return]


def accuracy(distinct: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of rows (truth, prediction) whose two labels are the same."""
    return mean((distinct[:, 0] == distinct[:, 1]).astype("int64"), counts)


def macro_f1(distinct: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over the classes of F1, from rows (truth, prediction).

    As in scikit-learn with its defaults: the classes are those that occur in truth or prediction of the sample.
    """
    import numpy as np

    classes = np.unique(distinct)
    truth = distinct[:, :1] == classes
    prediction = distinct[:, 1:] == classes
    both = counts @ (truth & prediction).astype("int64")
    either = counts @ (truth.astype("int64") + prediction.astype("int64"))
    f1 = np.divide(2.0 * both, either, out=np.zeros(either.shape), where=either > 0)
    return f1.sum(axis=1) / (either > 0).sum(axis=1)  # type: ignore[no-any-return]
