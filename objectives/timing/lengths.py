"""How long the calls are that real texts make: a few lengths that stand for all of them."""

from __future__ import annotations

from collections.abc import Sequence

GROUPS = 20
"""So many lengths stand for the texts. A twentieth is what a 95th percentile leaves out."""


def typical_lengths(tokens: Sequence[int], *, batch_size: int = 1) -> tuple[int, ...]:
    """Return 20 lengths in tokens, in ascending order, for texts of ``tokens`` tokens each.

    The calls are sorted by length and cut into 20 equal groups, and the middle of each group stands for it: no draw of
    20 texts could be as near to the distribution, and none comes out the same again. A call is as long as the longest
    text of its batch; batches are filled in the order of the texts. Where all calls are equally long, one length is
    returned. Raises ``ValueError`` where there is no text.
    """
    if not tokens:
        raise ValueError("lengths need at least one text")
    calls = sorted(max(tokens[start : start + batch_size]) for start in range(0, len(tokens), batch_size))
    chosen = tuple(calls[(2 * group + 1) * len(calls) // (2 * GROUPS)] for group in range(GROUPS))
    return chosen[:1] if len(set(chosen)) == 1 else chosen
