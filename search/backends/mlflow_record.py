"""A trial as MLflow shows it: its parameters, metrics and tags, all within MLflow's limits."""

from __future__ import annotations

import math
import re

from autoopt.search.trial.record import State, TrialRecord

MAX_PARAMETER_CHARACTERS = 6000
MAX_TAG_CHARACTERS = 8000


def parameters(record: TrialRecord) -> dict[str, str]:
    """``recipe`` in words, and every knob as ``strategy.knob``."""
    found = {"recipe": _shortened(str(record.recipe), MAX_PARAMETER_CHARACTERS)}
    for step in record.recipe.steps:
        for knob in type(step).knobs():
            found[_name(f"{step.name}.{knob}")] = _shortened(str(getattr(step, knob)), MAX_PARAMETER_CHARACTERS)
    return found


def recipe_is_shortened(record: TrialRecord) -> bool:
    """True where the recipe does not fit into a parameter, so that it has to go in as a file as well."""
    return len(str(record.recipe)) > MAX_PARAMETER_CHARACTERS


def metrics(record: TrialRecord) -> dict[str, float]:
    """Every measurement with both ends of its interval, the seconds of each stage, and the total.

    MLflow compares runs by number only, so a stage that was run at several efforts is one sum. What is not finite is
    left out: a database rounds it to something that it is not.
    """
    found = {"seconds": record.seconds, "total_violation": record.total_violation}
    for name, measured in record.measurements.items():
        found |= {name: measured.value, f"{name}_low": measured.low, f"{name}_high": measured.high}
    for stage in record.stages:
        name = f"stage_seconds.{stage.name}"
        found[name] = found.get(name, 0.0) + stage.seconds
    return {_name(name): float(value) for name, value in found.items() if math.isfinite(value)}


def tags(record: TrialRecord) -> dict[str, str]:
    """How it ended."""
    return {
        "autoopt.state": record.state.value,
        "autoopt.feasible": str(record.feasible).lower(),
        "autoopt.reason": _shortened(record.reason, MAX_TAG_CHARACTERS),
    }


def run_status(state: State) -> str:
    """MLflow's word for how a trial stands: only what failed is FAILED, only what was cut short is KILLED."""
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
    # MLflow refuses the whole batch for one odd character.
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
