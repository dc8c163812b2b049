"""The record of one trial: recipe, state, measurements, and the cost of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from sys import intern
from typing import Any

from autoopt.objectives.judging.verdict import is_kept, total_violation
from autoopt.objectives.measurement import QUALITY, Measurement
from autoopt.search.space.recipe import Recipe
from autoopt.strategies.errors import Shortage


class State(StrEnum):
    """State of a trial."""

    RUNNING = "running"
    COMPLETE = "complete"
    REJECTED = "rejected"
    """Its shape alone exceeds a limit; not trained."""
    STOPPED = "stopped"
    """Stopped at a rung, since other trials were better there."""
    FAILED = "failed"


COUNTED = (State.COMPLETE, State.REJECTED, State.STOPPED, State.FAILED)
"""States that count towards the number of trials of a study: every end that is the trial's own."""


@dataclass(frozen=True)
class StageRecord:
    """One stage of a trial."""

    name: str
    seconds: float
    reused: bool
    """Whether its result came from the stage store."""
    saved: float = 0.0
    """Seconds it took to compute the result that was reused; 0 if it was computed now."""
    device: str = ""
    """Name of the hardware that it ran on; empty if it was reused, and in records of earlier versions."""
    peak_bytes: int | None = None
    """Most memory that it took on a GPU; None if unknown."""
    processors: float | None = None
    """Mean number of processors that its process kept busy; None if unknown."""
    gpu_utilization: float | None = None
    """Share of the time in which the GPU computed, for whichever process; None on a CPU or without NVML."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a study."""

    number: int
    recipe: Recipe
    state: State
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    """By name: ``quality``, ``latency_p50``, ``latency_p95``, ``latency_ratio``, ``size``, the task's other scores."""
    violations: Mapping[str, float] = field(default_factory=dict)
    """For each budget as written: how far beyond its limit, relative to the limit; 0 or less is within."""
    stages: tuple[StageRecord, ...] = ()
    seconds: float = 0.0
    reason: str = ""
    """Why it was rejected or stopped, or how it failed, in one line."""
    rungs: Mapping[str, float] = field(default_factory=dict)
    """Quality at each rung it reached, by the rung's name."""
    corrections: Mapping[str, float] = field(default_factory=dict)
    """By metric: the factor that makes an absolute value that of a quiet machine, if the study's calibration is not."""
    attempt: str = ""
    """Identifies this attempt at the trial among all studies; empty for trials of earlier versions."""
    shortage: Shortage | None = None
    """What it needed if it failed because a device had no memory left; None otherwise."""

    @property
    def feasible(self) -> bool:
        """Complete, and within every budget."""
        return self.state is State.COMPLETE and is_kept(self.violations)

    @property
    def final_quality(self) -> float | None:
        """Quality of the finished model; None unless the trial is complete."""
        return self.measurements[QUALITY].value if self.state is State.COMPLETE else None

    @property
    def total_violation(self) -> float:
        """Sum of what is beyond the limits."""
        return total_violation(self.violations)

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "recipe": self.recipe.to_json(),
            "recipe_id": self.recipe.id,
            "state": self.state.value,
            "measurements": {name: measured.to_json() for name, measured in self.measurements.items()},
            "violations": dict(self.violations),
            "stages": [vars(stage) for stage in self.stages],
            "seconds": self.seconds,
            "reason": self.reason,
            "rungs": dict(self.rungs),
            "corrections": dict(self.corrections),
            "attempt": self.attempt,
            **({"shortage": vars(self.shortage)} if self.shortage else {}),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TrialRecord:
        return cls(
            number=fields["number"],
            recipe=Recipe.from_json(fields["recipe"]),
            state=State(fields["state"]),
            measurements={intern(name): Measurement.from_json(item) for name, item in fields["measurements"].items()},
            violations=_with_shared_names(fields["violations"]),
            stages=tuple(StageRecord(**{**stage, "name": intern(stage["name"])}) for stage in fields["stages"]),
            seconds=fields["seconds"],
            reason=fields["reason"],
            rungs=_with_shared_names(fields["rungs"]),
            corrections=_with_shared_names(fields.get("corrections", {})),
            attempt=fields.get("attempt", ""),
            shortage=Shortage(**fields["shortage"]) if fields.get("shortage") else None,
        )


def _with_shared_names(values: Mapping[str, float]) -> dict[str, float]:
    """Return a copy whose names are the same objects in all records."""
    return {intern(name): value for name, value in values.items()}
