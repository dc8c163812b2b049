"""The race: which trained trunks are cut next, and in which runtime, by the models that keep a trunk whole."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoopt.objectives.measurement import QUALITY, Direction, Measurement
from autoopt.search.space.recipe import Recipe, Steps
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.strategy import Family

BEHIND = 0.08
"""Share of the best trunk's quality that a trunk may lack before nothing more is derived from it."""
SECOND_BEST_PERIOD = 3
"""One in this many cuts of the start design is made of the second best trunk, the others of the best."""


def trunk_of(recipe: Recipe) -> Recipe:
    """Return the part of the recipe that trains the full model."""
    return recipe.prefix(len(recipe.trunk))


def is_whole(recipe: Recipe) -> bool:
    """Whether the recipe trains a trunk and cuts nothing, so that its quality is that of the trunk."""
    return bool(recipe.trunk) and not any(step.cuts or step.recovers or step.replaces for step in recipe.steps)


def falls_behind(quality: float, best: float) -> bool:
    """Whether a trunk of this quality is not worth pursuing beside one of the best quality."""
    return best - quality > BEHIND * abs(best)


@dataclass(frozen=True)
class Standings:
    """What the trials have shown of their trunks. Trunks of different base models are not compared: sizes differ."""

    qualities: Mapping[Recipe, float]
    """The best quality that a model with this trunk and nothing cut has reached, in the order of the trials."""
    stopped: frozenset[Recipe] = frozenset()
    """Trunks whose training was stopped at a rung."""

    @classmethod
    def of(cls, records: Iterable[TrialRecord]) -> Standings:
        qualities: dict[Recipe, float] = {}
        stopped: set[Recipe] = set()
        for record in records:
            if record.state is State.COMPLETE and is_whole(record.recipe):
                trunk, quality = trunk_of(record.recipe), record.measurements[QUALITY].value
                qualities[trunk] = max(quality, qualities.get(trunk, quality))
            elif record.state is State.STOPPED and not record.recipe.leaf:
                stopped.add(record.recipe)
        return cls(qualities, frozenset(stopped))

    def ranked(self, model: str) -> list[Recipe]:
        """Return the trunks of a base model that are worth cutting, best quality first."""
        known = [trunk for trunk in self.qualities if trunk.model == model and not self.is_behind(trunk)]
        return sorted(known, key=self.qualities.__getitem__, reverse=True)

    def is_behind(self, trunk: Recipe) -> bool:
        """Whether the trunk's measured quality is too far below the best one's to derive further recipes from it."""
        if trunk not in self.qualities:
            return trunk in self.stopped
        best = max(quality for other, quality in self.qualities.items() if other.model == trunk.model)
        return falls_behind(self.qualities[trunk], best)


@dataclass(frozen=True)
class Runtimes:
    """In which runtime a model is fastest here, as whole trunks have shown; "runtime" means all accelerations."""

    usual: Steps = ()
    """That of the design."""
    best: Steps = ()
    """The one with the lowest costs whose answers are as good; the usual one until both were measured."""
    known: frozenset[Steps] = frozenset()

    @classmethod
    def of(cls, design: Sequence[Recipe], records: Iterable[TrialRecord], costs: Sequence[str]) -> Runtimes:
        """Compare by the product of the ``costs``, names of measurements."""
        usual = next((runtime_of(recipe) for recipe in design if not is_whole(recipe) and runtime_of(recipe)), ())
        by_runtime: dict[Steps, float] = {}
        ended = [record for record in records if is_whole(record.recipe) and record.measurements.keys() >= set(costs)]
        best = Standings.of(ended).qualities
        for record in ended:
            runtime, trunk = runtime_of(record.recipe), trunk_of(record.recipe)
            # The usual one counts as measured too where a limit has rejected it.
            is_known = record.state is State.COMPLETE or (record.state is State.REJECTED and runtime == usual)
            if not is_known or not runtime or len(runtime) != len(record.recipe.leaf):
                continue
            quality = record.measurements.get(QUALITY)
            if quality is None or not falls_behind(quality.value, best[trunk]):
                score = sum(_logarithm(record.measurements[name]) for name in costs)
                by_runtime[runtime] = min(score, by_runtime.get(runtime, score))
        chosen = min(by_runtime, key=by_runtime.__getitem__) if costs and usual in by_runtime else usual
        return cls(usual, chosen, frozenset(by_runtime) | {usual})

    def variants(self, recipe: Recipe) -> list[Recipe]:
        """Return the recipe in the best runtime, then in the others, if it is in the usual one; else as it is."""
        if not self.usual or is_whole(recipe) or runtime_of(recipe) != self.usual:
            return [recipe]
        others = sorted(self.known - {self.best}, key=str)
        kept = [step for step in recipe.steps if step.family is not Family.ACCELERATION]
        return [Recipe.of([*kept, *runtime], model=recipe.model) for runtime in (self.best, *others)]


def runtime_of(recipe: Recipe) -> Steps:
    """Return the part of the recipe that makes it faster without another shape."""
    return tuple(step for step in recipe.steps if step.family is Family.ACCELERATION)


def _logarithm(measurement: Measurement) -> float:
    """Return the logarithm of a cost, negative if more is better."""
    value = math.log(max(measurement.value, sys.float_info.min))
    return value if measurement.direction is Direction.MINIMIZE else -value


def remaining(
    design: Sequence[Recipe],
    records: Sequence[TrialRecord],
    *,
    base: Recipe | None,
    costs: Sequence[str] = (),
    is_valid: Callable[[Recipe], bool] = lambda _: True,
) -> list[Recipe]:
    """Return the recipes of a start design that are still to be tried, as the race stands.

    What cuts the trunk ``base``, the baseline, cuts the best trunk known instead, or in turn the second best, unless
    this is not ``is_valid``; it counts as tried once its leaf was tried with any trunk. What is cut runs in the best
    runtime by the ``costs`` (``Runtimes``). Thus it depends on the design and the trials alone, and is the same after a
    search is resumed. Recipes of a trunk that is far behind are left out.
    """
    standings, runtimes = Standings.of(records), Runtimes.of(design, records, costs)
    ranked = (standings.ranked(base.model) or [base]) if base else []
    tried = {record.recipe.id for record in records}
    tried_leaves = {record.recipe.leaf for record in records if trunk_of(record.recipe) in {base, *ranked}}
    waiting: dict[str, Recipe] = {}
    cuts = 0
    for recipe in design:
        variants = runtimes.variants(recipe)
        chosen = variants[0] if is_valid(variants[0]) else recipe
        if trunk_of(recipe) == base and not is_whole(recipe):
            cuts += 1
            if not tried_leaves.isdisjoint(variant.leaf for variant in variants):
                continue
            turn = 1 if cuts % SECOND_BEST_PERIOD == 0 else 0
            trunk = ranked[min(turn, len(ranked) - 1)]
            moved = Recipe.of([*trunk.steps, *chosen.leaf], model=trunk.model)
            chosen = moved if is_valid(moved) else chosen
        elif standings.is_behind(trunk_of(recipe)):
            continue
        if tried.isdisjoint({chosen.id, *(variant.id for variant in variants)}):
            waiting.setdefault(chosen.id, chosen)
    return list(waiting.values())
