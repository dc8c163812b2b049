"""Confidence interval of a median, and percentiles for which there are enough samples."""

from __future__ import annotations

import math
from collections.abc import Sequence

MIN_SAMPLES_P95 = 130
MIN_SAMPLES_P99 = 662
"""From this many samples on, at least two lie beyond the true percentile with 99 % confidence."""


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median; exact for any distribution.

    Its ends are order statistics: the ranks beyond which a binomial(n, 1/2) falls with a probability of 2.5 % each.
    Fewer than six values cannot carry such an interval: their extremes are returned.
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
    """Return the 95th percentile, or None if there are fewer than 130 values."""
    return _quantile(values, 0.95) if len(values) >= MIN_SAMPLES_P95 else None


def p99(values: Sequence[float]) -> float | None:
    """Return the 99th percentile, or None if there are fewer than 662 values."""
    return _quantile(values, 0.99) if len(values) >= MIN_SAMPLES_P99 else None


def _quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
