"""What the backends need of the search: protocols, so that no backend imports the study."""

from __future__ import annotations

from typing import Protocol

from autoopt.search.trial.execution import Assignment
from autoopt.search.trial.record import TrialRecord


class Watcher(Protocol):
    """Observer of running trials, such as the terminal."""

    def stage(self, number: int, stage: str) -> None:
        """Called when a running trial enters a stage."""

    def say(self, message: str) -> None:
        """Called with a message for the user."""

    def tick(self) -> None:
        """Called several times a second."""


class TrialSource(Protocol):
    """Source of trials for a runner; the study's driver is one."""

    stopped_because: str
    death_reasons: dict[int, str]
    """Cause of death by trial number, set before ``record_result`` for a worker that died."""

    def next(self) -> Assignment | None:
        """Return the next trial to run, or None when the search is over."""

    def started(self, number: int) -> None:
        """Called when a worker runs a trial, at least once."""

    def reported(self, number: int) -> None:
        """Called when a running trial reports a stage or progress."""

    def why_expired(self, number: int) -> str:
        """Return why a running trial must be killed; empty if it may go on."""

    def dropped(self, number: int, reason: str) -> None:
        """Called when the runner ended a trial that it never began, or whose node died."""

    def should_continue(self, record: TrialRecord) -> bool:
        """Return False to stop a trial at its last rung."""

    def record_result(self, number: int) -> None:
        """Record the result of a trial that has ended."""

    def overdue(self) -> bool:
        """Return True when running trials must end too."""

    def give_up_running(self, reason: str) -> None:
        """Record what has finished and release the rest for a resumed search."""
