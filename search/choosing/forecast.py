"""Forecast of a search's compute from the one thing that is measured: the time of a forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

from autoopt.search.space.recipe import Recipe
from autoopt.strategies.adaptation.contrastive_finetuning import ContrastiveFinetuning
from autoopt.strategies.adaptation.linear_probe import LinearProbe
from autoopt.strategies.strategy import Family, Strategy
from autoopt.strategies.training.loop import LONGEST_EPOCH

TRAINING_FACTOR = 4.0
"""Time of a training step over that of a forward pass of the same tokens."""
UNCUT_SHARE = 0.15
"""Share of a training step that cutting layers does not reduce: word embeddings and their optimizer."""
BATCH_SIZE = 16
"""Number of examples of a training step, the default of all strategies."""
OVERHEAD_S = 4.0
"""Seconds per trial to measure its shape, save it and set up scoring."""
START_S = 25.0
"""Seconds to warm up the workers and to start the process that verifies the front."""


@dataclass(frozen=True)
class Work:
    """The quantities that a trial's compute depends on."""

    forward_s: float
    """Forward pass of the first base model: one example of the target's length."""
    length_share: float
    """Mean length of the training texts as a share of the target's length, at most 1."""
    train: int
    validation: int
    sizes: Mapping[str, float] = field(default_factory=dict)
    """Time of a forward pass of other base models, relative to the first, by ``Recipe.model``."""

    @property
    def example_s(self) -> float:
        """Forward pass of one example of mean length."""
        return self.forward_s * self.length_share

    def seconds(self, recipe: Recipe, done: frozenset[str] = frozenset()) -> float:
        """Return the expected seconds of one trial that reuses the ``done`` stages."""
        costs = zip(stage_ids(recipe), forward_passes(recipe), strict=True)
        passes = sum(passes for stage, passes in costs if stage not in done)
        example_s = self.example_s * self.sizes.get(recipe.model, 1.0)
        return OVERHEAD_S + example_s * (self.validation + min(self.train, LONGEST_EPOCH * BATCH_SIZE) * passes)


def forward_passes(recipe: Recipe) -> list[float]:
    """Return the training cost of each step, in forward passes of the base model over the training examples."""
    size, examples = 1.0, 1.0
    costs: list[float] = []
    for step in recipe.steps:
        if step.cuts:
            size *= 1 - step.cut_share * (1 - getattr(step, "keep", 1.0))
        if step.family is Family.AUGMENTATION:
            examples *= 1 + float(getattr(step, "copies", 1))
        costs.append((UNCUT_SHARE + (1 - UNCUT_SHARE) * size) * examples * _epochs(step) if step.trains else 0.0)
    return costs


def stage_ids(recipe: Recipe) -> list[str]:
    """Return an id for the state after each step; recipes that share a prefix share its ids."""
    return [recipe.prefix(length + 1).id for length in range(len(recipe.steps))]


def search_seconds(work: Work, design: Sequence[Recipe], *, trials: int, workers: int) -> float:
    """Forecast a whole search: the start design exactly, and its mean trial for every trial after it."""
    done: frozenset[str] = frozenset()
    seconds = []
    for recipe in design[:trials]:
        seconds.append(work.seconds(recipe, done))
        done |= frozenset(stage_ids(recipe))
    return START_S + (sum(seconds) + mean(seconds) * (trials - len(seconds))) / workers


def confirmation_seconds(work: Work, design: Sequence[Recipe], *, seeds: int) -> float:
    """Forecast the training of one front model with every seed but the first, as a mean recipe of the design."""
    return (seeds - 1) * mean(map(work.seconds, design))


def _epochs(step: Strategy) -> float:
    """Return the cost of a step in forward passes over the unaugmented examples of the uncut model."""
    if isinstance(step, LinearProbe):
        return 1.0  # Its epochs run over features that are computed once.
    texts: int = getattr(step, "texts", 0)
    # A step adds as many unlabeled texts, or a partner for each text.
    batch_factor = 2.0 if (step.recovers and texts) or isinstance(step, ContrastiveFinetuning) else 1.0
    head_first = 1.0 if getattr(step, "head_first", False) else 0.0  # One pass to record its features.
    return TRAINING_FACTOR * float(getattr(step, "epochs", 1)) * batch_factor + head_first
