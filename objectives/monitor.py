"""Quality of a model during its training, on a sample of the validation data."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from autoopt.objectives.scoring import bootstrap
from autoopt.strategies.candidate import Candidate, Example

if TYPE_CHECKING:
    from autoopt.objectives.task import Task


@dataclass(frozen=True)
class ValidationMonitor:
    """Scores by the quality that the search maximizes. It decides which weights of a training are kept."""

    examples: tuple[Example, ...]
    """In random order."""

    @classmethod
    def of(cls, validation: Sequence[Example]) -> ValidationMonitor:
        """Return the monitor of a validation split, always with the same order of its examples."""
        # Files are often sorted by class.
        return cls(tuple(random.Random(0).sample(list(validation), len(validation))))

    @property
    def size(self) -> int:
        return len(self.examples)

    def score(self, candidate: Candidate, *, limit: int) -> float:
        """Return the candidate's quality on the first ``limit`` examples. Raises ``Diverged``."""
        task, chosen = cast("Task", candidate.task), self.examples[:limit]
        outcomes = task.outcomes(chosen, task.answer(candidate, chosen))
        return bootstrap.estimate(outcomes, statistic=task.quality)
