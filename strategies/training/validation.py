"""How often, and on how many held-out examples, a model is scored during its training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

COST = 0.1
"""Most time that scoring may take, as a share of the time of the training."""
PASSES = 3
"""Time to train on an example, in forward passes over it."""
LOOKS = (3, 10)
"""Least and greatest number of times that a model is scored."""
EXAMPLES = (100, 500)
"""Least and greatest number of examples on which it is scored."""
DISAGREEMENT = 0.05
"""Assumed share of examples on which two models of one training differ."""


@dataclass(frozen=True)
class Validation:
    """The scores that decide which weights of a training are kept."""

    score: Callable[[], float]
    """Scores the model as it is; higher is better."""
    looks: int
    """Number of times that the model is scored, at even distances; the last time at the end."""
    margin: float = 0.0
    """Difference of two scores that may be chance."""


def plan(trained: int, available: int) -> tuple[int, int]:
    """Return how often a model is scored during ``trained`` examples, and on how many of the ``available`` ones.

    (0, 0) if at ``COST`` the scores would say little.
    """
    passes = COST * PASSES * trained
    most = min(available, EXAMPLES[1])
    looks = max(LOOKS[0], min(LOOKS[1], int(passes // max(1, most))))
    examples = min(most, int(passes // looks))
    return (looks, examples) if examples >= EXAMPLES[0] else (0, 0)


def chance_margin(examples: int) -> float:
    """Return the standard error of the difference of two shares of right answers to the same examples."""
    return math.sqrt(DISAGREEMENT / examples)
