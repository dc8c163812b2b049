"""Expected compute of a recipe, learned from the stages of complete trials and from what the stage store holds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from statistics import fmean
from types import MappingProxyType

from autoopt.search.choosing.forecast import forward_passes
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import TrialRecord
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.strategy import Family, Strategy

UNSEEN_FACTORS = MappingProxyType({Family.UNSUPERVISED: 3.75, Family.ADAPTATION: 1.5})
"""Time of an unseen strategy of the family over that of full fine-tuning: medians of ``strategies_alone.json``."""


SAME_SIZE: Mapping[str, float] = MappingProxyType({})


def expected_seconds(
    recipes: Sequence[Recipe], complete: Sequence[TrialRecord], sizes: Mapping[str, float] = SAME_SIZE
) -> list[float]:
    """Return the expected seconds of each recipe, where stages of complete trials are reused at no cost.

    A training stage scales with its epochs, examples and model size (``forward_passes``). An unseen strategy takes the
    mean of its family, and in families that train the whole model at least ``UNSEEN_FACTORS`` times full fine-tuning.
    Work outside of stages, such as scoring, is the same for all. ``sizes`` is the work of a forward pass of each base
    model, relative to the first (``Space.sizes``): a strategy that was only seen on another one takes in proportion.
    """
    expectation = Expectation.of(complete, sizes)
    return [expectation.seconds(recipe) for recipe in recipes]


@dataclass(frozen=True)
class Expectation:
    """What complete trials say of the time that others take."""

    times: _StageTimes
    stored: frozenset[Recipe]
    """The recipes whose result is in the stage store."""

    @classmethod
    def of(cls, complete: Sequence[TrialRecord], sizes: Mapping[str, float] = SAME_SIZE) -> Expectation:
        stored = frozenset(prefix for record in complete for prefix in record.recipe.stored_prefixes)
        return cls(_StageTimes.of(complete, sizes), stored)

    def seconds(self, recipe: Recipe) -> float:
        """Return the expected seconds of a recipe, see ``expected_seconds``."""
        prefixes = reversed(recipe.stored_prefixes)
        reused = next((len(prefix.steps) for prefix in prefixes if prefix in self.stored), 0)
        of_model = partial(self.times.expected, recipe.model)
        return self.times.outside + sum(starmap(of_model, _amounts(recipe)[reused:])) + 1.0


@dataclass
class TooLong:
    """Whether a recipe takes longer than there is time, by what complete trials took."""

    expectation: Expectation | None
    """None if nothing is known, or the time is not limited."""
    left_s: float
    excluded: bool = False
    """Whether one did so far."""

    @classmethod
    def of(cls, complete: Sequence[TrialRecord], sizes: Mapping[str, float], left_s: float) -> TooLong:
        is_known = bool(complete) and not math.isinf(left_s)
        return cls(Expectation.of(complete, sizes) if is_known else None, left_s)

    def __call__(self, recipe: Recipe) -> bool:
        is_too_long = self.expectation is not None and self.expectation.seconds(recipe) > self.left_s
        self.excluded = self.excluded or is_too_long
        return is_too_long


@dataclass(frozen=True)
class _StageTimes:
    """Mean times of stages, in seconds on a base model of size 1."""

    sizes: Mapping[str, float]
    """Of the base models, by ``Recipe.model``."""
    per_amount: Mapping[str, float]
    """By strategy, the time per unit of ``_amounts``."""
    per_amount_of_model: Mapping[tuple[str, str], float]
    """The same by base model and strategy."""
    by_family: Mapping[Family, float]
    overall: float
    full_finetuning: float
    outside: float
    """Per trial, outside of the stages of its recipe."""

    @classmethod
    def of(cls, complete: Sequence[TrialRecord], sizes: Mapping[str, float]) -> _StageTimes:
        samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
        of_model: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        outside: list[float] = []
        for record in complete:
            amounts = {step.name: amount for step, amount in _amounts(record.recipe)}
            outside.append(sum(stage.seconds for stage in record.stages if stage.name not in amounts))
            for stage in record.stages:
                if stage.name in amounts and (seconds := stage.saved if stage.reused else stage.seconds) > 0:
                    sample = seconds / sizes.get(record.recipe.model, 1.0), amounts[stage.name]
                    samples[stage.name].append(sample)
                    of_model[record.recipe.model, stage.name].append(sample)
        means = {name: fmean(seconds for seconds, _ in each) for name, each in samples.items()}
        family_of = {step.name: step.family for record in complete for step in record.recipe.steps}
        families: dict[Family, list[float]] = defaultdict(list)
        for name, mean in means.items():
            families[family_of[name]].append(mean)
        overall = fmean(means.values()) if means else 1.0
        return cls(
            sizes=sizes,
            per_amount={name: _per_amount(each) for name, each in samples.items()},
            per_amount_of_model={key: _per_amount(each) for key, each in of_model.items()},
            by_family={family: fmean(seconds) for family, seconds in families.items()},
            overall=overall,
            full_finetuning=means.get(FullFinetuning.name, overall),
            outside=fmean(outside or [0.0]),
        )

    def expected(self, model: str, step: Strategy, amount: float) -> float:
        size = self.sizes.get(model, 1.0)
        rate = self.per_amount_of_model.get((model, step.name), self.per_amount.get(step.name))
        if rate is not None:
            return rate * amount * size
        if step.family in UNSEEN_FACTORS and not step.trains:
            return 0.0
        least = UNSEEN_FACTORS.get(step.family, 0.0) * self.full_finetuning
        return max(self.by_family.get(step.family, self.overall), least) * size


def _per_amount(samples: Sequence[tuple[float, float]]) -> float:
    return sum(seconds for seconds, _ in samples) / sum(amount for _, amount in samples)


def _amounts(recipe: Recipe) -> list[tuple[Strategy, float]]:
    """Return each step with the amount of work it does, in a unit of its own."""
    return [(step, passes or 1.0) for step, passes in zip(recipe.steps, forward_passes(recipe), strict=True)]
