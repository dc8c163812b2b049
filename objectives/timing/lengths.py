"""Lengths of the calls that real texts make, summarized by a few representative ones."""

from __future__ import annotations

from collections.abc import Sequence

GROUPS = 10
"""Number of representative lengths. The tenth is the middle of the longest tenth: the 95th percentile."""


def typical_lengths(tokens: Sequence[int], *, batch_size: int = 1) -> tuple[int, ...]:
    """Return 10 lengths in tokens, ascending, for texts of ``tokens`` tokens each; one if all calls are equally long.

    The calls are sorted by length and cut into 10 equal groups, each represented by its middle: nearer to the
    distribution than a random draw of 10 texts, and the same on every run. A call is as long as the longest text of its
    batch; batches are filled in the order of the texts. Raises ``ValueError`` if there are no texts.
    """
    calls = [length for length, _ in _sorted_calls(tokens, batch_size)]
    lengths = tuple(calls[_middle(group, len(calls))] for group in range(GROUPS))
    return lengths[:1] if len(set(lengths)) == 1 else lengths


def typical_calls(tokens: Sequence[int], *, batch_size: int = 1) -> list[list[int]]:
    """Return for each of the ``typical_lengths`` the calls near it, as numbers of their first text, the nearest first.

    Each call is in one group, unless there are fewer than 10 calls.
    """
    calls = _sorted_calls(tokens, batch_size)
    middles = [_middle(group, len(calls)) for group in range(GROUPS)]
    if len({calls[middle][0] for middle in middles}) == 1:
        return [[start for _, start in calls]]
    groups = []
    for group, middle in enumerate(middles):
        ranks = {middle, *range(group * len(calls) // GROUPS, (group + 1) * len(calls) // GROUPS)}
        nearest = sorted((abs(rank - middle), rank) for rank in ranks)
        groups.append([calls[rank][1] for _, rank in nearest])
    return groups


def _sorted_calls(tokens: Sequence[int], batch_size: int) -> list[tuple[int, int]]:
    """Return the length of each call with the number of its first text, the shortest first."""
    if not tokens:
        raise ValueError("lengths need at least one text")
    return sorted((max(tokens[start : start + batch_size]), start) for start in range(0, len(tokens), batch_size))


def _middle(group: int, calls: int) -> int:
    """Return the rank of the call in the middle of a group."""
    return (2 * group + 1) * calls // (2 * GROUPS)
