"""The recipe proposer of the ``auto`` sampler: a surrogate over the study's trials for two objectives."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from autoopt.objectives.judging.budget import Limit
from autoopt.objectives.measurement import QUALITY, Direction
from autoopt.search.choosing.acquisition import Constraint, candidates_near, most_promising
from autoopt.search.choosing.expected_time import expected_seconds
from autoopt.search.choosing.front import losses, pareto
from autoopt.search.choosing.race import Standings, trunk_of
from autoopt.search.space.recipe import MODEL, Recipe
from autoopt.search.space.space import InvalidRecipe, Space, strategy_of
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.knobs import KnobValue
from autoopt.strategies.strategy import Family, Strategy

MIN_COMPLETE = 8
"""Number of complete trials before recipes are proposed."""
MAX_OBSERVED = 200
"""Largest number of trials that the surrogate is fitted to; its time grows with the cube."""
MAX_INFEASIBLE_PARENTS = 5
"""Number of least violating recipes that are mutated if no trial is feasible."""

TRUNK_QUALITY = "trunk_quality"
"""Name of the parameter that tells the surrogate how good a recipe's trunk is, beside those of the space."""

MIN_VARIANTS, VARIANT_SHARE = 2, 0.1
"""Number of recipes, at least and as a share of the trials, that may differ in a serving knob alone.

Such variants cost nearly no compute, but each takes one of the study's trials.
"""


class Proposer:
    """Proposes recipes by expected hypervolume improvement, feasibility and compute, for two objectives.

    Stages in the store cost nothing: a new leaf of a trained trunk is cheap, and needs to promise less.
    """

    def __init__(
        self, space: Space, objectives: Mapping[str, Direction], limits: Sequence[Limit], *, seed: int
    ) -> None:
        self._space, self._objectives, self._limits = space, dict(objectives), tuple(limits)
        self._rng = random.Random(seed)
        self._parameter_cache: dict[int, Mapping[str, KnobValue] | None] = {}
        self._reshaping = frozenset(offer.strategy.name for offer in space.offers if offer.strategy.reshapes())
        self._reshaping |= {MODEL} | {
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
        """Return the most promising recipe, see ``propose_several``; None if there is none."""
        return next(iter(self.propose_several(records, design, avoid=avoid, count=1)), None)

    def propose_several(
        self,
        records: Sequence[TrialRecord],
        design: Sequence[Recipe] = (),
        *,
        avoid: Callable[[Recipe], bool] = lambda _: False,
        count: int,
    ) -> list[Recipe]:
        """Return the most promising recipes that the study does not have yet, the best first, at most ``count``.

        Each is chosen as if those before it were running. Recipes of the ``design`` are candidates too; those to
        ``avoid`` are not. Empty if there are no candidates, fewer than ``MIN_COMPLETE`` complete trials, or a number of
        objectives other than two.
        """
        import numpy as np

        if len(self._objectives) != 2:
            return []
        observed = self._observed(records)
        complete = [record for record, _ in observed if record.state is State.COMPLETE]
        if len(complete) < MIN_COMPLETE:
            return []
        tried = {self._space.effect(record.recipe) for record in records}
        candidates = {
            effect: (recipe, parameters)
            for recipe, parameters in self._candidates(complete, design)
            if (effect := self._space.effect(recipe)) not in tried and not avoid(recipe)
        }
        counts = Counter(_without_serving_knobs(record.recipe) for record in records)
        allowed = max(MIN_VARIANTS, int(VARIANT_SHARE * len(records)))
        varied = {key: item for key, item in candidates.items() if counts[_without_serving_knobs(item[0])] < allowed}
        candidates = varied or candidates
        if not candidates:
            return []
        standings = Standings.of(records)
        ahead = {key: item for key, item in candidates.items() if not standings.is_behind(trunk_of(item[0]))}
        recipes, candidate_parameters = zip(*(ahead or candidates).values(), strict=True)
        running = [record for record in records if record.state is State.RUNNING]
        indices = most_promising(
            _with_trunk_quality(zip(recipes, candidate_parameters, strict=True), standings),
            _with_trunk_quality(((record.recipe, parameters) for record, parameters in observed), standings),
            np.array([losses(record, self._objectives) for record, _ in observed]),
            constraints=[self._constraint(limit, [record for record, _ in observed]) for limit in self._limits],
            running=_with_trunk_quality(
                ((record.recipe, known) for record in running if (known := self._parameters(record)) is not None),
                standings,
            ),
            seconds=np.array(expected_seconds(recipes, complete, self._space.sizes)),
            costs=list(map(_is_cost, self._objectives)),
            reshapes=self.reshapes,
            count=count,
        )
        return [recipes[index] for index in indices]

    def reshapes(self, parameter: str) -> bool:
        """Whether the costs of serving depend on this parameter."""
        return strategy_of(parameter) in self._reshaping

    def _is_cheap(self, parameter: str) -> bool:
        return parameter.partition(".")[0] in self._cheap

    def _observed(self, records: Sequence[TrialRecord]) -> list[tuple[TrialRecord, Mapping[str, KnobValue]]]:
        """Return the trials to fit the surrogate to, with their parameters: the front and the most recent."""
        measured = [record for record in records if record.state in (State.COMPLETE, State.STOPPED)]
        complete = [record for record in measured if record.state is State.COMPLETE]
        numbers = {record.number for record in pareto(complete, self._objectives)}
        others = [record.number for record in measured if record.number not in numbers]
        numbers.update(others[-max(1, MAX_OBSERVED - len(numbers)) :])
        with_parameters = ((record, self._parameters(record)) for record in measured if record.number in numbers)
        return [(record, parameters) for record, parameters in with_parameters if parameters is not None]

    def _candidates(
        self, complete: Sequence[TrialRecord], design: Sequence[Recipe]
    ) -> list[tuple[Recipe, Mapping[str, KnobValue]]]:
        parents = pareto([record for record in complete if record.feasible], self._objectives)
        parents = parents or sorted(complete, key=lambda record: record.total_violation)[:MAX_INFEASIBLE_PARENTS]
        sampled = candidates_near(
            [self._parameters(record) or {} for record in parents],
            self._space.propose,
            self._rng,
            is_cheap=self._is_cheap,
        )
        return [*((recipe, self._space.parameters(recipe)) for recipe in design), *sampled]

    def _constraint(self, limit: Limit, records: Sequence[TrialRecord]) -> Constraint:
        import numpy as np

        violations = [record.violations.get(limit.text, 0.0) for record in records]
        return Constraint(np.array(violations), 0.0, _is_cost(limit.metric))

    def _parameters(self, record: TrialRecord) -> Mapping[str, KnobValue] | None:
        """Return the parameters of a trial's recipe; None if the space does not contain it."""
        if record.number not in self._parameter_cache:
            try:
                self._parameter_cache[record.number] = self._space.parameters(record.recipe)
            except InvalidRecipe:
                self._parameter_cache[record.number] = None
        return self._parameter_cache[record.number]


def _with_trunk_quality(
    recipes: Iterable[tuple[Recipe, Mapping[str, KnobValue]]], standings: Standings
) -> list[Mapping[str, KnobValue]]:
    """Return the parameters of each recipe, with the quality of its trunk as one more if the race has shown it.

    A leaf inherits from its trunk, and trunks differ in more parameters than there are trials to learn them from.
    """
    return [
        {**parameters, TRUNK_QUALITY: standings.qualities[trunk_of(recipe)]}
        if trunk_of(recipe) in standings.qualities
        else parameters
        for recipe, parameters in recipes
    ]


def _is_cost(metric: str) -> bool:
    return metric != QUALITY


def _without_serving_knobs(recipe: Recipe) -> tuple[Strategy | str, ...]:
    """Return the base model and the steps, of accelerations without training only the names."""
    steps = (step.name if step.family is Family.ACCELERATION and not step.trains else step for step in recipe.steps)
    return (recipe.model, *steps)


def _is_cheap(strategy: type[Strategy]) -> bool:
    """Whether it changes a trained model without training, so that stored stages can be reused."""
    derives = strategy.family in (Family.COMPRESSION, Family.ACCELERATION)
    return derives and not (strategy.cuts or strategy.is_stored())
