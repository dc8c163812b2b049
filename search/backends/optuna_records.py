"""The trials of a study in Optuna as records, and what Optuna calls the ways in which they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.search.backends.optuna_storage import load_study, quiet_optuna
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import State, TrialRecord

if TYPE_CHECKING:
    import optuna

_STATES = {
    State.COMPLETE: "COMPLETE",
    State.REJECTED: "PRUNED",
    State.STOPPED: "PRUNED",
    State.FAILED: "FAIL",
}


def state_of(state: State) -> optuna.trial.TrialState:
    """Return Optuna's state of a trial that has ended."""
    return getattr(quiet_optuna().trial.TrialState, _STATES[state])  # type: ignore[no-any-return]


def records(url: str, name: str) -> list[TrialRecord]:
    """Return the records of a study without changing it; raises ``UnknownName`` if there is none of this name."""
    return records_of(load_study(url, name))


def records_of(study: optuna.Study) -> list[TrialRecord]:
    """Return the records of all trials but the lost ones."""
    return [
        _record(trial)
        for trial in study.get_trials(deepcopy=False)
        if "record" in trial.user_attrs and "lost" not in trial.user_attrs
    ]


def _record(trial: optuna.trial.FrozenTrial) -> TrialRecord:
    # The number is assigned by the database after the record is made.
    return TrialRecord.from_json({**trial.user_attrs["record"], "number": trial.number})


def lost_recipes(study: optuna.Study) -> list[Recipe]:
    """Return the recipes of interrupted trials."""
    return [
        _record(trial).recipe
        for trial in study.get_trials(deepcopy=False)
        if "record" in trial.user_attrs and "lost" in trial.user_attrs
    ]


def outcome_of(record: TrialRecord) -> dict[str, Any]:
    """Summarize how a trial ended, for the dashboard."""
    measured = {name: item.value for name, item in record.measurements.items()}
    rungs = {"rungs": dict(record.rungs)} if record.rungs else {}
    return {"state": record.state.value, "reason": record.reason, **measured, **rungs}
