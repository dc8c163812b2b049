"""Numbers of the base model and of the data, on which it depends what the settings of a strategy do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Situation:
    """What a recipe is applied to; None if unknown."""

    layers: int | None = None
    heads: int | None = None
    """Attention heads of each layer."""
    unlabeled: int | None = None
    """Number of unlabeled texts."""

    def texts(self, wanted: int) -> int:
        """Return how many of the ``wanted`` unlabeled texts there are."""
        return wanted if self.unlabeled is None else min(wanted, self.unlabeled)


def kept(keep: float, parts: int) -> int:
    """Return how many of ``parts`` equal parts a share is, at least one and at most all."""
    return min(parts, max(1, round(keep * parts)))
