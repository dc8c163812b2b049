"""Lengths of the calls that real texts make, summarized by a few representative ones."""

from __future__ import annotations

from collections.abc import Sequence

GROUPS = 20
"""Number of representative lengths. One of twenty is the share beyond a 95th percentile."""


def typical_lengths(tokens: Sequence[int], *, batch_size: int = 1) -> tuple[int, ...]:
    """Return 20 lengths in tokens, ascending, for texts of ``tokens`` tokens each; one if all calls are equally long.

    The calls are sorted by length and cut into 20 equal groups, each represented by its middle: nearer to the
    distribution than a random draw of 20 texts, and the same on every run. A call is as long as the longest text of its
    batch; batches are filled in the order of the texts. Raises ``ValueError`` if there are no texts.
    """
    if not tokens:
        raise ValueError("lengths need at least one text")
    calls = sorted(max(tokens[start : start + batch_size]) for start in range(0, len(tokens), batch_size))
    lengths = tuple(calls[(2 * group + 1) * len(calls) // (2 * GROUPS)] for group in range(GROUPS))
    return lengths[:1] if len(set(lengths)) == 1 else lengths
