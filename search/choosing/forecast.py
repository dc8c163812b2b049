"""What a search would cost: a forecast from the one thing that is measured, how long a forward pass takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from autoopt.search.space.recipe import Recipe
from autoopt.strategies.adaptation.linear_probe import LinearProbe
from autoopt.strategies.strategy import Family, Strategy

TRAINING_FACTOR = 4.0
"""A training step takes as long as so many forward passes over the same tokens."""
UNCUT = 0.15
"""Of a training step's time, the share that no cut of the layers takes away: word embeddings, and their optimizer."""
OVERHEAD_S = 4.0
"""Of each trial: measuring its shape, saving, scoring set-up."""
START_S = 25.0
"""Until the workers are warm, and for the verification's own process."""


@dataclass(frozen=True)
class Work:
    """What a trial's cost depends on."""

    forward_s: float
    """One example at the target's length, alone, with the base model."""
    length_share: float
    """The mean length of the training texts as a share of the target's length, at most 1."""
    train: int
    validation: int

    @property
    def example_s(self) -> float:
        """One example, forward only."""
        return self.forward_s * self.length_share

    def seconds(self, recipe: Recipe, done: frozenset[str] = frozenset()) -> float:
        """One trial whose stages that are ``done`` are reused."""
        left = (took for stage, took in zip(stages(recipe), passes(recipe), strict=True) if stage not in done)
        return OVERHEAD_S + self.example_s * (self.validation + self.train * sum(left))


def passes(recipe: Recipe) -> list[float]:
    """For each step, as how many forward passes of the base model over the training examples its training takes."""
    share, examples = 1.0, 1.0
    found: list[float] = []
    for step in recipe.steps:
        if step.cuts:
            share *= 1 - step.cut_share * (1 - getattr(step, "keep", 1.0))
        if step.family is Family.AUGMENTATION:
            examples *= 1 + float(getattr(step, "copies", 1))
        found.append((UNCUT + (1 - UNCUT) * share) * examples * _passes(step) if step.trains else 0.0)
    return found


def stages(recipe: Recipe) -> list[str]:
    """A name for what stands after each step: the same for two recipes that have it in common."""
    return [Recipe(recipe.steps[: length + 1]).id for length in range(len(recipe.steps))]


def search_seconds(work: Work, design: Sequence[Recipe], *, trials: int, workers: int) -> float:
    """The whole search: the start design as it is, and for each trial after it the mean of those."""
    done: frozenset[str] = frozenset()
    known = []
    for recipe in design[:trials]:
        known.append(work.seconds(recipe, done))
        done |= frozenset(stages(recipe))
    return START_S + (sum(known) + mean(known) * (trials - len(known))) / workers


def confirmation_seconds(work: Work, design: Sequence[Recipe], *, seeds: int) -> float:
    """Training one recipe of the front with each seed but the first: a mean recipe of the start design."""
    return (seeds - 1) * mean(map(work.seconds, design))


def _passes(step: Strategy) -> float:
    """The same of a step alone."""
    if isinstance(step, LinearProbe):
        return 1.0  # Its epochs run over features that are computed once.
    texts: int = getattr(step, "texts", 0)
    beside = 2.0 if step.recovers and texts else 1.0  # As many unlabeled texts in each step.
    return TRAINING_FACTOR * float(getattr(step, "epochs", 1)) * beside
