"""Proposes recipes of a study by what is expected of them, once some are known. Not here: the study itself."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import starmap
from statistics import fmean

from autoopt.objectives.judging.budget import Limit
from autoopt.objectives.measurement import QUALITY, Direction
from autoopt.search.choosing.acquisition import Constraint, candidates_near, most_promising
from autoopt.search.choosing.forecast import passes
from autoopt.search.choosing.front import losses, pareto
from autoopt.search.space.recipe import Recipe, Steps
from autoopt.search.space.space import InvalidRecipe, Space, strategy_of
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.knobs import KnobValue
from autoopt.strategies.strategy import Family, Strategy

LEAST = 8
"""Complete trials before anything is expected of others."""
REMEMBERED = 200
"""So many trials make the surrogate."""
UNSEEN = {Family.UNSUPERVISED: 3.75, Family.ADAPTATION: 1.5}
"""What a strategy of this family takes, in times of full fine-tuning: medians of ``strategies_alone.json``."""
NEAREST = 5
"""So many of the least violating recipes are changed where none is within the limits."""


class Proposer:
    """For two objectives. Recipes are judged by a surrogate, by the limits, and by what they take to compute.

    What was computed before costs nothing: a new leaf of a trained trunk is cheap, and is tried for less.
    """

    def __init__(
        self, space: Space, objectives: Mapping[str, Direction], limits: Sequence[Limit], *, seed: int
    ) -> None:
        self._space, self._objectives, self._limits = space, dict(objectives), tuple(limits)
        self._chance = random.Random(seed)
        self._known: dict[int, Mapping[str, KnobValue] | None] = {}
        self._reshaping = frozenset(offer.strategy.name for offer in space.offers if offer.strategy.reshapes())
        self._reshaping |= {
            group.parameter for group in space.groups if any(offer.strategy.reshapes() for offer in group.offers)
        }
        self._cheap = frozenset(offer.strategy.name for offer in space.offers if _is_cheap(offer.strategy))

    def propose(
        self,
        records: Sequence[TrialRecord],
        design: Sequence[Recipe] = (),
        *,
        avoid: Callable[[Recipe], bool] = lambda _: False,
    ) -> Recipe | None:
        """The most promising recipe that the study does not have; None where too little is known to say.

        Those of the ``design`` are among the candidates; those to ``avoid`` are not.
        """
        import numpy as np

        if len(self._objectives) != 2:
            return None
        told = [record for record in records if record.state in (State.COMPLETE, State.STOPPED)]
        observed = {record.number: self._parameters(record) for record in self._latest(told)}
        seen = [record for record in told if observed.get(record.number) is not None]
        complete = [record for record in seen if record.state is State.COMPLETE]
        if len(complete) < LEAST:
            return None
        known = {record.recipe.id for record in records}
        near = pareto([record for record in complete if record.feasible], self._objectives)
        near = near or sorted(complete, key=lambda record: record.total_violation)[:NEAREST]
        drawn = candidates_near(
            [observed[record.number] or {} for record in near],
            self._space.propose,
            self._chance,
            is_cheap=self._is_cheap,
        )
        designed = ((recipe, self._space.parameters(recipe)) for recipe in design)
        candidates = {
            found.id: (found, parameters)
            for found, parameters in (*designed, *drawn)
            if found.id not in known and not avoid(found)
        }
        if not candidates:
            return None
        recipes, parameters = zip(*candidates.values(), strict=True)
        values = np.array([losses(record, self._objectives) for record in seen])
        running = [self._parameters(record) for record in records if record.state is State.RUNNING]
        place = most_promising(
            parameters,
            [observed[record.number] or {} for record in seen],
            values,
            limited=[
                Constraint(
                    np.array([record.violations.get(limit.text, 0.0) for record in seen]), 0.0, _is_cost(limit.metric)
                )
                for limit in self._limits
            ],
            running=[found for found in running if found is not None],
            seconds=np.array(expected_seconds(recipes, complete)),
            costs=list(map(_is_cost, self._objectives)),
            reshapes=self.reshapes,
        )
        chosen: Recipe = recipes[place]
        return chosen

    def _is_cheap(self, parameter: str) -> bool:
        return parameter.partition(".")[0] in self._cheap

    def reshapes(self, parameter: str) -> bool:
        """Whether what serving costs depends on it."""
        return strategy_of(parameter) in self._reshaping

    def _latest(self, told: Sequence[TrialRecord]) -> Sequence[TrialRecord]:
        """Those that the surrogate is made of: the front and the latest, since its time grows with their cube."""
        kept = {record.number for record in pareto([r for r in told if r.state is State.COMPLETE], self._objectives)}
        others = [record.number for record in told if record.number not in kept]
        kept.update(others[-max(1, REMEMBERED - len(kept)) :])
        return [record for record in told if record.number in kept]

    def _parameters(self, record: TrialRecord) -> Mapping[str, KnobValue] | None:
        """None where the space does not hold its recipe."""
        if record.number not in self._known:
            try:
                self._known[record.number] = self._space.parameters(record.recipe)
            except InvalidRecipe:
                self._known[record.number] = None
        return self._known[record.number]


def _is_cost(metric: str) -> bool:
    return metric != QUALITY


def _is_cheap(strategy: type[Strategy]) -> bool:
    """Whether it changes what is trained already and trains nothing, so that stored stages stay of use."""
    derives = strategy.family in (Family.COMPRESSION, Family.ACCELERATION)
    return derives and not (strategy.cuts or strategy.is_stored())


def expected_seconds(recipes: Sequence[Recipe], complete: Sequence[TrialRecord]) -> list[float]:
    """What each recipe is expected to take: its stages by what they took before, those that are stored for nothing.

    A training takes in proportion to its epochs, its examples and what is left of the model (``passes``). A step that
    was never taken is expected to take what others of its family do, and of a family that trains the whole model no
    less than ``UNSEEN``. A stage is stored where a complete trial has the same steps up to it. What a trial takes
    beside its stages, such as scoring, is the same for all.
    """
    took: dict[str, list[tuple[float, float]]] = defaultdict(list)
    beside: list[float] = []
    stored: set[Steps] = set()
    for record in complete:
        amounts = {step.name: amount for step, amount in _amounts(record.recipe)}
        beside.append(sum(stage.seconds for stage in record.stages if stage.name not in amounts))
        for stage in record.stages:
            if stage.name in amounts and (seconds := stage.saved if stage.reused else stage.seconds) > 0:
                took[stage.name].append((seconds, amounts[stage.name]))
        stored.update(record.recipe.kept)
    means = {name: fmean(seconds for seconds, _ in each) for name, each in took.items()}
    rates = {
        name: sum(seconds for seconds, _ in each) / sum(amount for _, amount in each) for name, each in took.items()
    }
    family_of = {step.name: step.family for record in complete for step in record.recipe.steps}
    families: dict[Family, list[float]] = defaultdict(list)
    for name, mean in means.items():
        families[family_of[name]].append(mean)
    usual = {family: fmean(seconds) for family, seconds in families.items()}
    anything = fmean(means.values()) if means else 1.0

    training = means.get(FullFinetuning.name, anything)
    least = {family: times * training for family, times in UNSEEN.items()}

    def expected(step: Strategy, amount: float) -> float:
        if step.name in rates:
            return rates[step.name] * amount
        return max(usual.get(step.family, anything), least.get(step.family, 0.0))

    found = []
    for recipe in recipes:
        done = next((len(steps) for steps in reversed(recipe.kept) if steps in stored), 0)
        found.append(fmean(beside or [0.0]) + sum(starmap(expected, _amounts(recipe)[done:])) + 1.0)
    return found


def _amounts(recipe: Recipe) -> list[tuple[Strategy, float]]:
    """Each step with how much it has to do, in a unit of its own."""
    return [(step, amount or 1.0) for step, amount in zip(recipe.steps, passes(recipe), strict=True)]
