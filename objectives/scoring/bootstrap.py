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
