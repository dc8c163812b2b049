"""Rungs: the points of a trial's training at which its quality is scored and the scheduler may stop it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeAlias, cast

from autoopt.objectives.measurement import QUALITY
from autoopt.objectives.task import Task
from autoopt.search.trial.record import StageRecord, TrialRecord
from autoopt.search.trial.workspace import Workspace
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.training import progress
from autoopt.strategies.training.precision import mixed_precision

RUNGS: Mapping[str, float] = {"before recovery": 0.0, "a quarter of recovery": 0.25}
"""Each rung's name with the share of recovery training done there, in [0, 1) and rising."""
TRUNK_RUNGS: Mapping[str, float] = {"a quarter of the trunk": 0.25}
"""The rungs of a trial that trains a trunk and nothing else."""
MAX_EXAMPLES = 500
"""Number of validation examples scored at each rung."""

Judge: TypeAlias = Callable[[TrialRecord], None]
"""Called at each rung with the record so far. Does not return if the trial is stopped there."""


@dataclass
class RungScorer:
    """Scores one trial at its rungs and hands each score to the judge."""

    record: TrialRecord
    """The trial before its stages: number, recipe, and what its shape costs."""
    workspace: Workspace
    judge: Judge
    started_at: float
    """``time.monotonic()`` at the trial's start."""
    qualities: dict[str, float] = field(default_factory=dict)
    """Quality at each rung reached so far."""

    @contextmanager
    def watching(self, candidate: Candidate, stages: Sequence[StageRecord], *, recovers: bool) -> Iterator[None]:
        """Score ``candidate`` at every rung of the training within the block; rungs at 0 before the block starts.

        The training is a recovery, or else that of the trunk.
        """
        rungs = RUNGS if recovers else TRUNK_RUNGS
        for name, share in rungs.items():
            if share == 0:
                self.score(name, candidate, stages)
        visits = {share: partial(self._visit, name, candidate, stages) for name, share in rungs.items() if share > 0}
        with progress.visiting(visits):
            yield

    def score(self, name: str, candidate: Candidate, stages: Sequence[StageRecord]) -> None:
        """Score the candidate at one rung and let the judge decide."""
        with mixed_precision(candidate.model.device):
            quality = cast("Task", candidate.task).score(candidate, self._examples)[QUALITY]
        self.qualities[name] = quality.value
        self.judge(
            replace(
                self.record,
                measurements={**self.record.measurements, QUALITY: quality},
                stages=(*self.record.stages, *stages),
                seconds=time.monotonic() - self.started_at,
                rungs=dict(self.qualities),
            )
        )

    def _visit(self, name: str, candidate: Candidate, stages: Sequence[StageRecord], model: Any) -> None:
        self.score(name, replace(candidate, model=model), stages)

    @cached_property
    def _examples(self) -> Sequence[Example]:
        # The same sample for all trials, drawn at random because files are often sorted by class.
        validation = list(self.workspace.data.validation)
        return random.Random(0).sample(validation, min(MAX_EXAMPLES, len(validation)))


def quality_at(record: TrialRecord, rung: str) -> float:
    """Return the best quality that the trial has shown up to this rung.

    A training can return to what it had. At a quarter the learning rate is highest, and a model that lost little when
    it was cut is worse there than before.
    """
    names = list(RUNGS if rung in RUNGS else TRUNK_RUNGS)
    return max(record.rungs[name] for name in names[: names.index(rung) + 1] if name in record.rungs)


def quality_after(record: TrialRecord, rung: str) -> float | None:
    """Return the quality of the finished model, or else at the first later rung; None if neither is known."""
    if record.final_quality is not None:
        return record.final_quality
    names = list(RUNGS if rung in RUNGS else TRUNK_RUNGS)
    reached = [name for name in names[names.index(rung) + 1 :] if name in record.rungs]
    return record.rungs[reached[0]] if reached else None
