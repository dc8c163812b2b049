"""Successive halving by several objectives at once: which trials go on at a rung, and which are stopped there.

A rung is a place in a trial where its quality is looked at before its recovery training is paid for, or paid in full.
Trials are compared as they come (Li et al. 2020, "Massively parallel hyperparameter tuning") and at the same rung only:
first by how far they are over the limits, then by non-dominated rank, then by crowding distance (Deb et al. 2002,
"NSGA-II"), each among those that are about as fast, so that the fast ones are not starved by the accurate ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from autoopt.search.choosing.front import dominates

REDUCTION = 2
"""At each rung one of so many goes on, beside those that nothing beats."""
FEWEST = 4
"""So many trials that are about as fast have to be at a rung before one is stopped there: fewer say little."""
STRATA, STRATUM = 3, 4
"""Into so many parts trials are divided by speed, as soon as so many are in each."""
PAIRS = 5
"""So many trials that were seen again after a rung say whether it can be believed."""
BELIEVED = 0.6
"""The least of Kendall's tau between a rung and the next look, or the end, with which it stops trials."""

Losses: TypeAlias = tuple[float, ...]
"""The objectives' values, signed so that less is better."""


@dataclass(frozen=True)
class RungEntry:
    """How a trial stands at a rung, or at its end."""

    losses: Losses
    speed: float = 0.0
    """By which trials are divided; less is faster."""
    violation: float = 0.0
    """How far it is over the limits that training does not change."""


def should_continue(one: RungEntry, others: Sequence[RungEntry], complete: Sequence[RungEntry] = ()) -> bool:
    """True where a trial belongs to the better half of those at its rung that are about as fast.

    It also goes on where it is on the front of the ``complete`` ones already, unless only by being the fastest.
    """
    beaten = any(dominates(other.losses, one.losses) for other in complete)
    if not beaten and any(other.speed <= one.speed for other in complete):
        return True
    near = _about_as_fast(one, others)
    if len(near) + 1 < FEWEST:
        return True
    mine, *keys = _keys([one, *near])
    return sum(key < mine for key in keys) < math.ceil(len([one, *near]) / REDUCTION)


def is_reliable(pairs: Sequence[tuple[float, float]]) -> bool:
    """True where a rung ranks trials as the next look at them does, by their quality at both; at first, too."""
    if len(pairs) < PAIRS:
        return True
    from scipy.stats import kendalltau

    tau = kendalltau(*zip(*pairs, strict=True)).statistic
    return not tau < BELIEVED  # Not a number where all are the same: then nothing speaks against it.


def _about_as_fast(one: RungEntry, others: Sequence[RungEntry]) -> list[RungEntry]:
    ordered = sorted([*others, one], key=lambda standing: standing.speed)
    count = len(ordered)
    parts = max(1, min(STRATA, count // STRATUM))
    place = next(place for place, standing in enumerate(ordered) if standing is one)
    return [
        standing
        for other, standing in enumerate(ordered)
        if standing is not one and other * parts // count == place * parts // count
    ]


def _keys(standings: Sequence[RungEntry]) -> list[tuple[float, int, float]]:
    """By which trials are ordered, the best first."""
    ranks = _ranks([standing.losses for standing in standings])
    crowding = _crowding([standing.losses for standing in standings], ranks)
    return [
        (max(0.0, standing.violation), rank, -distance)
        for standing, rank, distance in zip(standings, ranks, crowding, strict=True)
    ]


def _ranks(points: Sequence[Losses]) -> list[int]:
    """0 for what nothing dominates, 1 for what only those dominate, and so on."""
    ranks, left, rank = [0] * len(points), set(range(len(points))), 0
    while left:
        front = {one for one in left if not any(dominates(points[other], points[one]) for other in left)}
        for one in front:
            ranks[one] = rank
        left, rank = left - front, rank + 1
    return ranks


def _crowding(points: Sequence[Losses], ranks: Sequence[int]) -> list[float]:
    """How far the neighbours of each within its rank are apart, summed over the objectives; without end at the ends."""
    found = [0.0] * len(points)
    for rank in set(ranks):
        front = [place for place, other in enumerate(ranks) if other == rank]
        for axis in range(len(points[0])):
            ordered = sorted(front, key=lambda place: points[place][axis])
            low, high = points[ordered[0]][axis], points[ordered[-1]][axis]
            found[ordered[0]] = found[ordered[-1]] = math.inf
            for before, place, after in zip(ordered, ordered[1:], ordered[2:], strict=False):
                found[place] += (points[after][axis] - points[before][axis]) / ((high - low) or 1.0)
    return found
