"""The study in Optuna: the single source of truth about its trials and how they ended."""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from autoopt.objectives.judging.budget import Limit
from autoopt.objectives.measurement import QUALITY, Direction
from autoopt.search.backends.optuna_records import lost_recipes, outcome_of, records_of, state_of
from autoopt.search.backends.optuna_samplers import distribution, sampler_of, suggester
from autoopt.search.backends.optuna_storage import quiet_optuna, retried, storage_at
from autoopt.search.choosing.proposer import Proposer
from autoopt.search.choosing.race import remaining
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import InvalidRecipe, Space
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.knobs import Knob, KnobValue
from autoopt.strategies.system.failpoints import failpoint

if TYPE_CHECKING:
    import optuna

_MAX_DUPLICATES = 200
"""Number of consecutive known or invalid proposals after which the space counts as exhausted."""
WORKERS_PER_REFRESH = 4
"""Number of workers for each of which proposals are refreshed once, while all of them end one trial."""


@dataclass(frozen=True)
class ProposedTrial:
    """A proposed trial, which is stored as running."""

    number: int
    recipe: Recipe
    attempt: str
    """Identifies this attempt in the trial's row and in the result that its worker writes."""


class OptunaStudy:
    """One study in an Optuna database, used by the driver only.

    Samplers work on a copy of the study in memory, since the database would need a transaction per parameter. A
    proposal is written once, when it is complete and known to be new.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: Any,
        space: Space,
        objectives: Mapping[str, Direction],
        limits: Sequence[Limit],
        sampler: optuna.samplers.BaseSampler,
        proposer: Proposer | None,
    ) -> None:
        self._study, self._storage = study, storage
        self._space = space
        self._proposer = proposer
        self._objectives = tuple(objectives)
        self._limits = tuple(limits)
        self._queue: list[Recipe] = []
        self._design: list[Recipe] = []
        self._base: Recipe | None = None
        self._sampled: dict[int, optuna.Trial] = {}
        """Running trials that a sampler proposed, by number, as trials of the study in memory."""
        self._distributions: dict[optuna.distributions.BaseDistribution, optuna.distributions.BaseDistribution] = {}
        """Those of the trials in memory, by themselves: equal ones are one object."""
        trials = study.get_trials(deepcopy=False)
        self._running = {trial.number: trial for trial in trials if trial.state.name == "RUNNING"}
        self._records = {record.number: record for record in records_of(study)}
        self._twins = {self._space.effect(record.recipe): record for record in self._records.values()}
        """The trials by what their recipes do."""
        self._ready: list[Recipe] = []
        """Proposals that are not tried yet."""
        self._results_until_refresh = 0
        directions = [direction.value for direction in objectives.values()]
        self._memory = quiet_optuna().create_study(directions=directions, sampler=sampler)
        self._memory.add_trials(trial for trial in trials if trial.state.is_finished())
        self.enqueue(lost_recipes(study))

    @classmethod
    def open(
        cls,
        url: str,
        name: str,
        space: Space,
        *,
        objectives: Mapping[str, Direction],
        limits: Sequence[Limit],
        sampler: str,
        seed: int,
        admit: Callable[[Mapping[str, Any], int], None] = lambda *_: None,
    ) -> OptunaStudy:
        """Open the study, or create it. Raises ``EnvironmentProblem`` if the database is unreachable.

        ``admit`` is called with the study's attributes and its number of trials before anything in it is changed, and
        may raise.
        """
        optuna = quiet_optuna()
        storage = storage_at(url)
        directions = [direction.value for direction in objectives.values()]
        study = retried(
            lambda: optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        )
        count = len(study.get_trials(deepcopy=False))
        try:
            admit(study.user_attrs, count)
        except BaseException:
            storage.engine.dispose()
            raise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(objectives))
        # A resumed search must not repeat the random numbers of its first run.
        proposer = Proposer(space, objectives, limits, seed=seed + count) if sampler == "auto" else None
        return cls(study, storage, space, objectives, limits, sampler_of(sampler, seed + 1000 * count), proposer)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Values stored with ``remember``."""
        return self._study.user_attrs

    def claim(self, holder: Mapping[str, Any]) -> None:
        """Store who searches the study from now on; writes of earlier holders are refused with ``StudyLocked``."""
        from autoopt.search.backends.optuna_rows import HOLDER

        self.remember(HOLDER, dict(holder))
        self._storage.holder = dict(holder)

    def remember(self, key: str, value: Any) -> None:
        """Store a JSON value with the study."""
        retried(lambda: self._study.set_user_attr(key, value))

    def enqueue(self, recipes: Iterable[Recipe]) -> None:
        """Propose these recipes before anything else, except those that the study already has."""
        known = {self._space.effect(recipe) for recipe in self._queue} | self._twins.keys()
        unique = {self._space.effect(recipe): recipe for recipe in recipes}
        self._queue += [recipe for effect, recipe in unique.items() if effect not in known]

    def consider(self, design: Iterable[Recipe], *, base: Recipe | None = None) -> None:
        """Propose these recipes in order until the proposer can rank them against all others.

        What cuts the trunk ``base`` cuts the best trunks instead, as soon as the trials tell which they are. A study
        that is resumed has to be given the same design again, whatever has been tried of it.
        """
        self._design, self._base = list(design), base

    def begin(self, recipe: Recipe) -> ProposedTrial:
        """Start a trial of this recipe now, ahead of all enqueued ones, even if the space does not contain it."""
        optuna = quiet_optuna()
        distributions: dict[str, Any] = {}
        parameters: dict[str, KnobValue] = {}
        with contextlib.suppress(InvalidRecipe):
            searched: dict[str, Knob] = {}
            parameters = self._space.parameters(recipe, visit=searched.__setitem__)
            distributions = {name: distribution(knob) for name, knob in searched.items()}
        record = TrialRecord(-1, recipe, State.RUNNING, attempt=uuid.uuid4().hex)
        running = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=parameters,
            distributions=distributions,
            user_attrs={"recipe": str(recipe), "record": record.to_json()},
        )
        number = running.number = retried(lambda: self._storage.begin_trial(self._study.study_name, running))
        failpoint("after-propose")
        self._running[number] = running
        self._keep(replace(record, number=number))
        return ProposedTrial(number, recipe, record.attempt)

    def ask(
        self,
        *,
        avoid: Callable[[Recipe], bool] = lambda _: False,
        exclude: Callable[[Recipe], bool] = lambda _: False,
    ) -> ProposedTrial | None:
        """Propose a recipe that the study does not have yet; None if the space is exhausted.

        Among enqueued and considered recipes, those to ``avoid`` come last. Recipes to ``exclude`` are never proposed;
        a sampler learns that they are infeasible.
        """
        records = self.records()
        twins = self._twins
        self._queue = [item for item in self._queue if self._space.effect(item) not in twins and not exclude(item)]
        if self._queue:
            return self.begin(_pop_first(self._queue, avoid))
        if ready := self._ready_proposals(lambda recipe: avoid(recipe) or exclude(recipe)):
            return self.begin(ready[0])
        costs = [name for name in self._objectives if name != QUALITY]
        design = remaining(self._design, records, base=self._base, costs=costs, is_valid=self._space.contains)
        design = [recipe for recipe in design if self._space.effect(recipe) not in twins and not exclude(recipe)]
        if promising := self._new_proposals(design, lambda recipe: avoid(recipe) or exclude(recipe)):
            return self.begin(promising[0])
        if design:
            return self.begin(_pop_first(design, avoid))
        for _ in range(_MAX_DUPLICATES):
            trial = self._memory.ask()
            try:
                recipe = self._space.propose(suggester(trial))
                if exclude(recipe):
                    raise InvalidRecipe("it needs more memory than the GPU has")
            except InvalidRecipe:
                self._end_in_memory(trial, [1.0] * len(self._limits), None, State.REJECTED)
                continue
            if twin := twins.get(self._space.effect(recipe)):
                self._end_in_memory(trial, self._constraints(twin), None, State.REJECTED)
                continue
            proposed = self.begin(recipe)
            self._sampled[proposed.number] = trial
            return proposed
        return None

    def _ready_proposals(self, avoid: Callable[[Recipe], bool]) -> list[Recipe]:
        """Return what the surrogate proposed last and is not tried yet, as long as few results came since."""
        self._ready = [recipe for recipe in self._ready if self._space.effect(recipe) not in self._twins]
        return [recipe for recipe in self._ready if not avoid(recipe)] if self._results_until_refresh > 0 else []

    def _new_proposals(self, design: Sequence[Recipe], avoid: Callable[[Recipe], bool]) -> list[Recipe]:
        """Return what the surrogate proposes, the best first.

        It proposes for a quarter of the workers at once, so that many workers with short trials do not wait for it.
        """
        if self._proposer is None:
            return []
        count = 1 + len(self._running) // WORKERS_PER_REFRESH
        self._ready = self._proposer.propose_several(self.records(), design, avoid=avoid, count=count)
        self._results_until_refresh = count - 1
        return self._ready

    def tell(self, record: TrialRecord) -> None:
        """Store how a trial ended. Idempotent."""
        running = self._running.get(record.number)
        if running is None:
            return
        # A list is the one form of constraints that both the samplers and the dashboard understand.
        constraints = {} if record.state is State.FAILED else {"constraints": self._constraints(record)}
        values = None
        if record.state is State.COMPLETE:
            values = [record.measurements[name].value for name in self._objectives]
        attributes = {"record": record.to_json(), "outcome": outcome_of(record)}
        self._write_end(record.number, state_of(record.state), values, attributes, constraints)
        self._keep(record)
        self._results_until_refresh -= 1
        if sampled := self._sampled.pop(record.number, None):
            if record.shortage:  # Infeasible to the sampler, which ignores trials that failed.
                self._end_in_memory(sampled, [1.0] * len(self._limits), None, State.REJECTED)
            else:
                self._end_in_memory(sampled, self._constraints(record), values, record.state)
        else:
            running.state, running.values, running.datetime_complete = state_of(record.state), values, datetime.now()
            running.system_attrs, running.user_attrs = constraints, {}
            self._memory.add_trial(running)
            self._share_distributions(self._memory.get_trials(deepcopy=False)[-1])

    def mark_lost(self, number: int, reason: str, *, again: bool) -> None:
        """Store a trial whose worker or driver is gone as failed; ``again`` enqueues its recipe."""
        self._write_end(number, state_of(State.FAILED), None, {"lost": reason}, {})
        record = self._records.pop(number)
        self._twins.pop(self._space.effect(record.recipe), None)
        if again:
            self.enqueue([record.recipe])

    def _keep(self, record: TrialRecord) -> None:
        self._records[record.number] = record
        self._twins[self._space.effect(record.recipe)] = record

    def _write_end(
        self,
        number: int,
        state: optuna.trial.TrialState,
        values: list[float] | None,
        user_attrs: Mapping[str, Any],
        system_attrs: Mapping[str, Any],
    ) -> None:
        study = self._study.study_name
        failpoint("before-tell")
        retried(lambda: self._storage.end_trial(study, number, state, values, user_attrs, system_attrs))
        failpoint("after-tell")
        del self._running[number]

    def _constraints(self, record: TrialRecord) -> list[float]:
        return [record.violations.get(limit.text, 0.0) for limit in self._limits]

    def _end_in_memory(
        self, trial: optuna.Trial, constraints: list[float], values: list[float] | None, state: State
    ) -> None:
        """End a trial of the study in memory."""
        if state is not State.FAILED:
            for index, violation in enumerate(constraints):
                trial.set_constraint(str(index), violation)  # The names that Optuna gives the entries of a list.
        self._memory.tell(trial, values=values, state=state_of(state))
        self._share_distributions(self._memory.get_trials(deepcopy=False)[trial.number])

    def _share_distributions(self, trial: optuna.trial.FrozenTrial) -> None:
        """Give an ended trial of the study in memory the objects of earlier ones; Optuna makes its own for each."""
        shared = self._distributions
        trial.distributions = {name: shared.setdefault(made, made) for name, made in trial.distributions.items()}

    def running(self) -> list[int]:
        """Return the numbers of the running trials."""
        return list(self._running)

    def records(self) -> list[TrialRecord]:
        """Return all trials but the lost ones, by number."""
        return list(self._records.values())


def _pop_first(recipes: list[Recipe], avoid: Callable[[Recipe], bool]) -> Recipe:
    """Remove and return the first recipe that is not to be avoided; the first one if all are."""
    return recipes.pop(next((index for index, recipe in enumerate(recipes) if not avoid(recipe)), 0))
