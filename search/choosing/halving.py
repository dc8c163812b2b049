"""Multi-objective successive halving: which trials continue past a rung, and which are stopped there.

Trials are compared asynchronously (Li et al. 2020, "A system for massively parallel hyperparameter tuning"), and only
with those seen at the same rung: first by constraint violation, then by non-dominated rank, then by crowding distance
(Deb et al. 2002, "NSGA-II"). Each trial competes within a stratum of similar speed, so that accurate models do not
crowd out fast ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from autoopt.search.choosing.front import dominates

REDUCTION_FACTOR = 2
"""One in this many trials of a stratum continues past a rung."""
MIN_TRIALS = 4
"""Number of trials of a stratum, at a rung, before one can be stopped."""
MAX_STRATA, MIN_STRATUM_SIZE = 3, 4
"""Largest number of strata, and the smallest number of trials in each."""
MIN_PAIRS = 5
"""Number of trials with a score after the rung before its reliability is judged."""
MIN_TAU = 0.6
"""Least Kendall's tau between the scores at a rung and the next ones for the rung to stop trials."""

Losses: TypeAlias = tuple[float, ...]
"""Objective values, negated where more is better."""


@dataclass(frozen=True)
class RungEntry:
    """What a trial is judged by at a rung or at its end."""

    losses: Losses
    speed: float = 0.0
    """Divides trials into strata; lower is faster."""
    violation: float = 0.0
    """Excess over the limits on costs, which training does not change."""


def should_continue(entry: RungEntry, others: Sequence[RungEntry], complete: Sequence[RungEntry] = ()) -> bool:
    """Whether a trial ranks in the better half of its stratum at the rung.

    It also continues if no ``complete`` trial dominates it, unless it is faster than all of them.
    """
    is_dominated = any(dominates(other.losses, entry.losses) for other in complete)
    if not is_dominated and any(other.speed <= entry.speed for other in complete):
        return True
    rivals = _same_stratum(entry, others)
    if len(rivals) + 1 < MIN_TRIALS:
        return True
    own_key, *keys = _sort_keys([entry, *rivals])
    return sum(key < own_key for key in keys) < math.ceil((len(rivals) + 1) / REDUCTION_FACTOR)


def is_reliable(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether a rung ranks trials as their next scores do; True while there are fewer than ``MIN_PAIRS`` pairs.

    Each pair is a trial's quality at the rung and at its next rung, or its end.
    """
    if len(pairs) < MIN_PAIRS:
        return True
    from scipy.stats import kendalltau

    tau = kendalltau(*zip(*pairs, strict=True)).statistic
    return not tau < MIN_TAU  # NaN if all scores are equal: no evidence against the rung.


def _same_stratum(entry: RungEntry, others: Sequence[RungEntry]) -> list[RungEntry]:
    ordered = sorted([*others, entry], key=lambda item: item.speed)
    count = len(ordered)
    strata = max(1, min(MAX_STRATA, count // MIN_STRATUM_SIZE))
    own_index = next(index for index, item in enumerate(ordered) if item is entry)
    return [
        item
        for index, item in enumerate(ordered)
        if item is not entry and index * strata // count == own_index * strata // count
    ]


def _sort_keys(entries: Sequence[RungEntry]) -> list[tuple[float, int, float]]:
    """Return the sort key of each entry; the lowest is the best."""
    points = [entry.losses for entry in entries]
    ranks = _non_dominated_ranks(points)
    crowding = _crowding_distances(points, ranks)
    return [
        (max(0.0, entry.violation), rank, -distance)
        for entry, rank, distance in zip(entries, ranks, crowding, strict=True)
    ]


def _non_dominated_ranks(points: Sequence[Losses]) -> list[int]:
    """Return 0 for the points of the front, 1 for those of the front without them, and so on."""
    ranks, remaining, rank = [0] * len(points), set(range(len(points))), 0
    while remaining:
        front = {i for i in remaining if not any(dominates(points[j], points[i]) for j in remaining)}
        for index in front:
            ranks[index] = rank
        remaining, rank = remaining - front, rank + 1
    return ranks


def _crowding_distances(points: Sequence[Losses], ranks: Sequence[int]) -> list[float]:
    """Return the distance between each point's neighbours of its rank, summed over objectives; inf at the ends."""
    distances = [0.0] * len(points)
    for rank in set(ranks):
        front = [index for index, other in enumerate(ranks) if other == rank]
        for axis in range(len(points[0])):
            ordered = sorted(front, key=lambda index: points[index][axis])
            low, high = points[ordered[0]][axis], points[ordered[-1]][axis]
            distances[ordered[0]] = distances[ordered[-1]] = math.inf
            for before, index, after in zip(ordered, ordered[1:], ordered[2:], strict=False):
                distances[index] += (points[after][axis] - points[before][axis]) / ((high - low) or 1.0)
    return distances
