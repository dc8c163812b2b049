"""Proposes recipes of a study by what is expected of them, once some are known. Not here: the study itself."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from autoopt.objectives.measurement import Direction
from autoopt.search.front import pareto
from autoopt.search.proposals import Limited, most_promising
from autoopt.search.recipe import Recipe
from autoopt.search.record import State, TrialRecord
from autoopt.search.space import Senseless, Space
from autoopt.strategies.knobs import Choice, Float, Knob, KnobValue

LEAST = 8
"""Complete trials before anything is expected of others."""
DRAWN, CHANGED = 200, 200
"""Candidates that are drawn from the whole space, and that are changed from recipes of the front."""
KEPT = 0.85
"""How likely a parameter of a recipe of the front stays as it is."""


class Proposer:
    """For two objectives. Recipes are judged by a surrogate, by the limits, and by what they take to compute.

    What was computed before costs nothing: a new leaf of a trained trunk is cheap, and is tried for less.
    """

    def __init__(self, space: Space, objectives: Mapping[str, Direction], limits: Sequence[str], *, seed: int) -> None:
        self._space, self._objectives, self._limits = space, dict(objectives), tuple(limits)
        self._chance = random.Random(seed)

    def propose(self, records: Sequence[TrialRecord]) -> Recipe | None:
        """The most promising recipe that the study does not have; None where too little is known to say."""
        import numpy as np

        complete = [record for record in records if record.state is State.COMPLETE and self._in_space(record.recipe)]
        if len(self._objectives) != 2 or len(complete) < LEAST:
            return None
        known = {record.recipe.id for record in records}
        candidates = [recipe for recipe in self._candidates(complete) if recipe.id not in known]
        if not candidates:
            return None
        running = [record.recipe for record in records if record.state is State.RUNNING]
        values = np.array(
            [
                [
                    record.measurements[name].value * (1 if direction is Direction.MINIMIZE else -1)
                    for name, direction in self._objectives.items()
                ]
                for record in complete
            ]
        )
        place = most_promising(
            [self._space.parameters(recipe) for recipe in candidates],
            [self._space.parameters(record.recipe) for record in complete],
            values,
            limited=[
                Limited(np.array([record.violations.get(limit, 0.0) for record in complete]), 0.0)
                for limit in self._limits
            ],
            running=[self._space.parameters(recipe) for recipe in running if self._in_space(recipe)],
            seconds=np.array(expected_seconds(candidates, complete)),
        )
        return candidates[place]

    def _candidates(self, complete: Sequence[TrialRecord]) -> list[Recipe]:
        """Different recipes, some from anywhere, some near those that nothing beats."""
        front = [self._space.parameters(record.recipe) for record in pareto(complete, self._objectives)]
        found: dict[str, Recipe] = {}
        for number in range(DRAWN + CHANGED):
            recipe = self._drawn({} if number < DRAWN else self._chance.choice(front))
            if recipe is not None:
                found.setdefault(recipe.id, recipe)
        return list(found.values())

    def _drawn(self, near: Mapping[str, KnobValue]) -> Recipe | None:
        """A recipe, most of whose parameters are those of ``near`` where it has them."""

        def suggest(name: str, knob: Knob) -> KnobValue:
            if name in near and near[name] in knob and self._chance.random() < KEPT:
                return near[name]
            match knob:
                case Choice(options=options):
                    return self._chance.choice(options)
                case Float(low=low, high=high, log=log):
                    return low * (high / low) ** self._chance.random() if log else self._chance.uniform(low, high)
                case _:
                    return self._chance.randrange(knob.low, knob.high + 1, knob.step)

        try:
            return self._space.propose(suggest)
        except Senseless:
            return None

    def _in_space(self, recipe: Recipe) -> bool:
        try:
            self._space.parameters(recipe)
        except Senseless:
            return False
        return True


def expected_seconds(recipes: Sequence[Recipe], complete: Sequence[TrialRecord]) -> list[float]:
    """What each recipe is expected to take: its stages by what they took before, those that are stored for nothing.

    A stage is stored where a complete trial has the same steps up to it. What a trial takes beside its stages, such as
    scoring, is the same for all.
    """
    took: dict[str, list[float]] = defaultdict(list)
    beside: list[float] = []
    stored: set[str] = set()
    for record in complete:
        names = {step.name for step in record.recipe.steps}
        beside.append(sum(stage.seconds for stage in record.stages if stage.name not in names))
        for stage in record.stages:
            if stage.name in names and not stage.reused:
                took[stage.name].append(stage.seconds)
        stored |= {
            Recipe(record.recipe.steps[: place + 1]).id for place, step in enumerate(record.recipe.steps) if step.trains
        }
    means = {name: fmean(seconds) for name, seconds in took.items()}
    usual = fmean(means.values()) if means else 1.0
    found = []
    for recipe in recipes:
        prefixes = [Recipe(recipe.steps[: place + 1]).id for place in range(len(recipe.steps))]
        done = max((place + 1 for place, prefix in enumerate(prefixes) if prefix in stored), default=0)
        found.append(fmean(beside or [0.0]) + sum(means.get(step.name, usual) for step in recipe.steps[done:]) + 1.0)
    return found
