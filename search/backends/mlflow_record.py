"""A trial's parameters, metrics and tags for MLflow, all within its limits."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from autoopt.search.space.recipe import MODEL
from autoopt.search.trial.record import State, TrialRecord

MAX_PARAMETER_CHARACTERS = 6000
MAX_TAG_CHARACTERS = 8000


def parameters(record: TrialRecord, base_models: Sequence[str] = ()) -> dict[str, str]:
    """Return the recipe as text, and every knob as ``strategy.knob``; of several base models, that of the recipe.

    ``base_models`` are their labels, the baseline's first.
    """
    values = {"recipe": _shortened(str(record.recipe), MAX_PARAMETER_CHARACTERS)}
    if len(base_models) > 1:
        values[MODEL] = _shortened(record.recipe.model or base_models[0], MAX_PARAMETER_CHARACTERS)
    for step in record.recipe.steps:
        for knob in type(step).knobs():
            values[_name(f"{step.name}.{knob}")] = _shortened(str(getattr(step, knob)), MAX_PARAMETER_CHARACTERS)
    return values


def recipe_is_shortened(record: TrialRecord) -> bool:
    """Whether the recipe exceeds a parameter's limit and must be logged as a file as well."""
    return len(str(record.recipe)) > MAX_PARAMETER_CHARACTERS


def metrics(record: TrialRecord) -> dict[str, float]:
    """Return every measurement with both ends of its interval, the seconds of each stage, and their total.

    A stage that ran at several efforts is summed up. Non-finite values are left out, since databases store them as
    other numbers.
    """
    values = {"seconds": record.seconds, "total_violation": record.total_violation}
    for name, measured in record.measurements.items():
        values |= {name: measured.value, f"{name}_low": measured.low, f"{name}_high": measured.high}
    for stage in record.stages:
        name = f"stage_seconds.{stage.name}"
        values[name] = values.get(name, 0.0) + stage.seconds
    return {_name(name): float(value) for name, value in values.items() if math.isfinite(value)}


def tags(record: TrialRecord) -> dict[str, str]:
    """Return how the trial ended, as tags."""
    return {
        "autoopt.state": record.state.value,
        "autoopt.feasible": str(record.feasible).lower(),
        "autoopt.reason": _shortened(record.reason, MAX_TAG_CHARACTERS),
    }


def run_status(state: State) -> str:
    """Return MLflow's run status for a trial's state: FAILED if it failed, KILLED if it was cut short."""
    match state:
        case State.RUNNING:
            return "RUNNING"
        case State.COMPLETE:
            return "FINISHED"
        case State.REJECTED | State.STOPPED:
            return "KILLED"
        case State.FAILED:
            return "FAILED"


def _name(name: str) -> str:
    # MLflow rejects the whole batch for one invalid character.
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
