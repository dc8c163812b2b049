"""The race of trunks: which trained trunks are cut next, by the quality of the models that keep them whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoopt.objectives.measurement import QUALITY
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import State, TrialRecord

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


def remaining(
    design: Sequence[Recipe],
    records: Sequence[TrialRecord],
    *,
    base: Recipe | None,
    is_valid: Callable[[Recipe], bool] = lambda _: True,
) -> list[Recipe]:
    """Return the recipes of a start design that are still to be tried, as the race stands.

    What cuts the trunk ``base``, the baseline, cuts the best trunk known instead, or in turn the second best, unless
    this is not ``is_valid``; it counts as tried once its leaf was tried with any trunk. Thus it depends on the design
    and the trials alone, and is the same after a search is resumed. Recipes of a trunk that is far behind are left out.
    """
    standings = Standings.of(records)
    ranked = (standings.ranked(base.model) or [base]) if base else []
    tried = {record.recipe.id for record in records}
    tried_leaves = {record.recipe.leaf for record in records if trunk_of(record.recipe) in {base, *ranked}}
    waiting: dict[str, Recipe] = {}
    cuts = 0
    for recipe in design:
        chosen = recipe
        if trunk_of(recipe) == base and not is_whole(recipe):
            cuts += 1
            if recipe.leaf in tried_leaves:
                continue
            turn = 1 if cuts % SECOND_BEST_PERIOD == 0 else 0
            trunk = ranked[min(turn, len(ranked) - 1)]
            moved = Recipe.of([*trunk.steps, *recipe.leaf], model=trunk.model)
            chosen = moved if is_valid(moved) else recipe
        elif standings.is_behind(trunk_of(recipe)):
            continue
        if chosen.id not in tried:
            waiting.setdefault(chosen.id, chosen)
    return list(waiting.values())
