"""Bootstrap confidence intervals of scores, and the paired comparison of two models on the same examples.

A score is a function of the distinct rows of a sample and of the count of each. Drawing n examples with replacement is
then drawing counts from a multinomial distribution, and no resample is materialized row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Statistic: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
    """Maps distinct rows and their counts, of shape (resamples, distinct), to scores of shape (resamples,)."""

CONFIDENCE = 0.95
RESAMPLES = 1000
COUNTS_PER_DRAW = 2**22
"""Largest number of counts drawn at a time, so that a large test split need not fit into memory a thousand times."""


def estimate(values: NDArray[Any], *, statistic: Statistic) -> float:
    """Return ``statistic`` of the rows of ``values``, each counted once."""
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
    resampled = [statistic(distinct, drawn) for drawn in _draw_counts(counts, seed, resamples)]
    low, high = np.quantile(np.concatenate(resampled), _tail_probabilities())
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """Difference of two models' scores on the same examples, with its 95 % interval."""

    value: float
    low: float
    high: float
    p_value: float
    """Two-sided: probability of a difference at least this large by chance alone."""


def paired_difference(
    ours: NDArray[Any], theirs: NDArray[Any], *, statistic: Statistic, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """Compare the outcomes of two models on the same examples, row for row: ``statistic`` of ours minus theirs.

    The interval is that of the paired bootstrap; the p-value that of approximate randomization, which exchanges
    outcomes at random between the models (Noreen 1989). Raises ``ValueError`` if the numbers of examples differ.
    """
    import numpy as np

    if len(ours) != len(theirs):
        raise ValueError(f"cannot pair the outcomes of {len(ours)} examples with those of {len(theirs)}")
    value = estimate(ours, statistic=statistic) - estimate(theirs, statistic=statistic)
    pairs, counts = np.unique(np.stack([ours, theirs], axis=1), axis=0, return_counts=True)
    distinct_ours, distinct_theirs = pairs[:, 0], pairs[:, 1]
    resampled = [
        statistic(distinct_ours, drawn) - statistic(distinct_theirs, drawn)
        for drawn in _draw_counts(counts, seed, resamples)
    ]
    low, high = np.quantile(np.concatenate(resampled), _tail_probabilities())
    p_value = _randomization_p_value(distinct_ours, distinct_theirs, counts, value, statistic, seed, resamples)
    return Difference(float(value), float(low), float(high), p_value)


def _randomization_p_value(
    ours: NDArray[Any],
    theirs: NDArray[Any],
    counts: NDArray[Any],
    value: float,
    statistic: Statistic,
    seed: int,
    resamples: int,
) -> float:
    """Return the p-value for distinct pairs of outcomes and their counts."""
    import numpy as np

    generator, both = np.random.default_rng(seed), np.concatenate([ours, theirs])
    extreme_count = 0
    for size in _draw_sizes(resamples, len(both)):
        exchanged = generator.binomial(counts, 0.5, size=(size, len(counts)))
        our_scores = statistic(both, np.concatenate([counts - exchanged, exchanged], axis=1))
        their_scores = statistic(both, np.concatenate([exchanged, counts - exchanged], axis=1))
        extreme_count += int((np.abs(our_scores - their_scores) >= abs(value) - 1e-12).sum())
    return (extreme_count + 1) / (resamples + 1)


def _draw_counts(counts: NDArray[Any], seed: int, resamples: int) -> Iterator[NDArray[Any]]:
    """Yield counts of shape (some resamples, distinct); independent of how many are drawn at a time."""
    import numpy as np

    generator = np.random.default_rng(seed)
    for size in _draw_sizes(resamples, len(counts)):
        yield generator.multinomial(counts.sum(), counts / counts.sum(), size=size)


def _draw_sizes(resamples: int, rows: int) -> Iterator[int]:
    largest = max(1, COUNTS_PER_DRAW // rows)
    for start in range(0, resamples, largest):
        yield min(largest, resamples - start)


def _tail_probabilities() -> list[float]:
    tail = (1 - CONFIDENCE) / 2
    return [tail, 1 - tail]
