"""The interval of a median, and percentiles that the samples can carry."""

from __future__ import annotations

import math
from collections.abc import Sequence

ENOUGH_FOR_P95 = 130
ENOUGH_FOR_P99 = 662
"""From so many samples on, at least two lie beyond the true percentile with 99 % confidence."""


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median; exact, and true of any distribution.

    Its ends are two of the values: the ranks beyond which a binomial of one half falls 2.5 times in a hundred. Fewer
    than six values cannot carry it: their extremes are returned.
    """
    ordered = sorted(values)
    count = len(ordered)
    rank, below = 0, 0
    while 40 * (below + math.comb(count, rank)) <= 2**count:
        below += math.comb(count, rank)
        rank += 1
    rank = max(rank, 1)
    return ordered[rank - 1], ordered[count - rank]


def p95(values: Sequence[float]) -> float | None:
    """The 95th percentile, or None where the values are too few for it."""
    return _quantile(values, 0.95) if len(values) >= ENOUGH_FOR_P95 else None


def p99(values: Sequence[float]) -> float | None:
    """The 99th percentile, or None where the values are too few for it."""
    return _quantile(values, 0.99) if len(values) >= ENOUGH_FOR_P99 else None


def _quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
