"""The study in Optuna: the only truth about which trials there are and how they ended."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from autoopt.objectives.judging.budget import Limit
from autoopt.objectives.measurement import Direction
from autoopt.search.backends.optuna_samplers import distribution, sampler_of, suggester
from autoopt.search.backends.optuna_storage import existing, quiet_optuna, retried, storage_at
from autoopt.search.choosing.proposer import Proposer
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import InvalidRecipe, Space
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.knobs import Knob, KnobValue

if TYPE_CHECKING:
    import optuna

_EXHAUSTED_AFTER = 200
"""So many proposals in a row that are known already mean that nothing new is left."""
_STATES = {
    State.COMPLETE: "COMPLETE",
    State.REJECTED: "PRUNED",
    State.STOPPED: "PRUNED",
    State.FAILED: "FAIL",
}


@dataclass(frozen=True)
class ProposedTrial:
    """A trial that was proposed and now runs."""

    number: int
    recipe: Recipe


class OptunaStudy:
    """One study in an Optuna database. Only the driver holds one.

    Samplers draw in a copy of the study in memory, since the database would have a transaction for each parameter; a
    proposal is written once, when it is whole and known to be new.
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
        self._drawn: dict[int, optuna.Trial] = {}
        """What was drawn in memory and has not ended."""
        trials = study.get_trials(deepcopy=False)
        self._begun = {trial.number: trial for trial in trials if trial.state.name == "RUNNING"}
        self._records = {record.number: record for record in _records(study)}
        directions = [direction.value for direction in objectives.values()]
        self._memory = quiet_optuna().create_study(directions=directions, sampler=sampler)
        self._memory.add_trials(trial for trial in trials if trial.state.is_finished())
        self.enqueue(_lost(study))

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
    ) -> OptunaStudy:
        """Open the study, or create it. Raises ``EnvironmentProblem`` where the database cannot be reached."""
        optuna = quiet_optuna()
        storage = storage_at(url)
        directions = [direction.value for direction in objectives.values()]
        study = retried(
            lambda: optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        )
        count = len(study.get_trials(deepcopy=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(objectives))
        # A resumed search must not draw the same numbers again.
        proposer = Proposer(space, objectives, limits, seed=seed + count) if sampler == "auto" else None
        return cls(study, storage, space, objectives, limits, sampler_of(sampler, seed + 1000 * count), proposer)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What ``remember`` stored."""
        return self._study.user_attrs

    def remember(self, key: str, value: Any) -> None:
        """Store a JSON value with the study."""
        retried(lambda: self._study.set_user_attr(key, value))

    def enqueue(self, recipes: Iterable[Recipe]) -> None:
        """Propose these recipes before anything else, those left out that the study has already."""
        self._queue += self._new(recipes, self._queue)

    def consider(self, recipes: Iterable[Recipe]) -> None:
        """Propose these recipes in their order until enough is known to say which of them, or of all others, to try."""
        self._design += self._new(recipes, [*self._queue, *self._design])

    def _new(self, recipes: Iterable[Recipe], waiting: Sequence[Recipe]) -> list[Recipe]:
        known = {recipe.id for recipe in waiting} | {record.recipe.id for record in self.records()}
        unique = {recipe.id: recipe for recipe in recipes}
        return [recipe for recipe in unique.values() if recipe.id not in known]

    def begin(self, recipe: Recipe) -> ProposedTrial:
        """Begin a trial of this recipe now, before all that is enqueued, even where the space does not hold it."""
        optuna = quiet_optuna()
        distributions: dict[str, Any] = {}
        parameters: dict[str, KnobValue] = {}
        with contextlib.suppress(InvalidRecipe):
            searched: dict[str, Knob] = {}
            parameters = self._space.parameters(recipe, seen=searched.__setitem__)
            distributions = {name: distribution(knob) for name, knob in searched.items()}
        running = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=parameters,
            distributions=distributions,
            user_attrs={"recipe": str(recipe), "record": TrialRecord(-1, recipe, State.RUNNING).to_json()},
        )
        number, identity = retried(lambda: self._storage.begin_trial(self._study._study_id, running))
        running.number, running._trial_id = number, identity
        self._begun[number] = running
        self._records[number] = TrialRecord(number, recipe, State.RUNNING)
        return ProposedTrial(number, recipe)

    def ask(self, *, avoid: Callable[[Recipe], bool] = lambda _: False) -> ProposedTrial | None:
        """Propose a recipe that the study does not have yet; None where nothing new is left.

        Of recipes that are enqueued or considered, those to ``avoid`` come last.
        """
        records = self.records()
        known = {record.recipe.id: record for record in records}
        self._queue, self._design = (
            [recipe for recipe in waiting if recipe.id not in known] for waiting in (self._queue, self._design)
        )
        if self._queue:
            return self.begin(_first(self._queue, avoid))
        if self._proposer is not None and (promising := self._proposer.propose(records, self._design, avoid=avoid)):
            return self.begin(promising)
        if self._design:
            return self.begin(_first(self._design, avoid))
        for _ in range(_EXHAUSTED_AFTER):
            trial = self._memory.ask()
            try:
                recipe = self._space.propose(suggester(trial))
            except InvalidRecipe:
                self._end(trial, [1.0] * len(self._limits), None, State.REJECTED)
                continue
            if twin := known.get(recipe.id):
                self._end(trial, self._constraints(twin), None, State.REJECTED)
                continue
            asked = self.begin(recipe)
            self._drawn[asked.number] = trial
            return asked
        return None

    def tell(self, record: TrialRecord) -> None:
        """Store how a trial ended. Telling the same twice is the same as telling it once."""
        begun = self._begun.get(record.number)
        if begun is None:
            return
        # The one form of constraints that the samplers and the dashboard both understand: one list.
        constraints = {} if record.state is State.FAILED else {"constraints": self._constraints(record)}
        values = None
        if record.state is State.COMPLETE:
            values = [record.measurements[name].value for name in self._objectives]
        attributes = {"record": record.to_json(), "outcome": _outcome(record)}
        self._write_end(begun, _state(record.state), values, attributes, constraints)
        self._records[record.number] = record
        if drawn := self._drawn.pop(record.number, None):
            self._end(drawn, self._constraints(record), values, record.state)
        else:
            begun.state, begun.values, begun.datetime_complete = _state(record.state), values, datetime.now()
            begun.system_attrs = constraints
            self._memory.add_trial(begun)

    def mark_lost(self, number: int, reason: str, *, again: bool) -> None:
        """End a trial whose worker or driver is gone as failed; ``again`` proposes its recipe once more."""
        begun = self._begun[number]
        self._write_end(begun, _state(State.FAILED), None, {"lost": reason}, {})
        lost = self._records.pop(number)
        if again:
            self.enqueue([lost.recipe])

    def _write_end(
        self,
        begun: optuna.trial.FrozenTrial,
        state: optuna.trial.TrialState,
        values: list[float] | None,
        user_attrs: Mapping[str, Any],
        system_attrs: Mapping[str, Any],
    ) -> None:
        retried(lambda: self._storage.end_trial(begun._trial_id, state, values, user_attrs, system_attrs))
        del self._begun[begun.number]

    def _constraints(self, record: TrialRecord) -> list[float]:
        return [record.violations.get(limit.text, 0.0) for limit in self._limits]

    def _end(self, trial: optuna.Trial, constraints: list[float], values: list[float] | None, state: State) -> None:
        """End a trial that was drawn in memory."""
        if state is not State.FAILED:
            self._memory._storage.set_trial_system_attr(trial._trial_id, "constraints", constraints)
        self._memory.tell(trial, values=values, state=_state(state))

    def running(self) -> list[int]:
        """Numbers of the trials that were proposed and have not ended."""
        return list(self._begun)

    def records(self) -> list[TrialRecord]:
        """Every trial that has a recipe, in the order of their numbers; lost ones are not among them."""
        return list(self._records.values())


def _state(state: State) -> optuna.trial.TrialState:
    return getattr(quiet_optuna().trial.TrialState, _STATES[state])  # type: ignore[no-any-return]


def _first(recipes: list[Recipe], avoid: Callable[[Recipe], bool]) -> Recipe:
    """Take out the first one that is not to be avoided; the first one where all are."""
    return recipes.pop(next((place for place, recipe in enumerate(recipes) if not avoid(recipe)), 0))


def records(url: str, name: str) -> list[TrialRecord]:
    """The records of a study, read only; raises ``UnknownName`` where there is none of this name."""
    return _records(existing(url, name))


def _records(study: optuna.Study) -> list[TrialRecord]:
    return [
        _record(trial)
        for trial in study.get_trials(deepcopy=False)
        if "record" in trial.user_attrs and "lost" not in trial.user_attrs
    ]


def _record(trial: optuna.trial.FrozenTrial) -> TrialRecord:
    # Its number is given by the database when the record is there already.
    return TrialRecord.from_json({**trial.user_attrs["record"], "number": trial.number})


def _lost(study: optuna.Study) -> list[Recipe]:
    """Recipes of trials that were cut off."""
    return [
        _record(trial).recipe
        for trial in study.get_trials(deepcopy=False)
        if "record" in trial.user_attrs and "lost" in trial.user_attrs
    ]


def _outcome(record: TrialRecord) -> dict[str, Any]:
    """How it ended, for people who look at the study in the dashboard."""
    measured = {name: item.value for name, item in record.measurements.items()}
    rungs = {"rungs": dict(record.rungs)} if record.rungs else {}
    return {"state": record.state.value, "reason": record.reason, **measured, **rungs}
