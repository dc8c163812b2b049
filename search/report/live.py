"""Progress of a running search: a view redrawn in place in a terminal, one line per event elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoopt.objectives.measurement import QUALITY, Direction
from autoopt.search.choosing.front import champion
from autoopt.search.report.formats import (
    format_clock,
    format_difference,
    format_latency,
    format_quality,
    format_speedup,
    format_summary,
)
from autoopt.search.report.sanitize import plain_text
from autoopt.search.report.tables import describe_state, new_table
from autoopt.search.study.evidence import TEST_PREFIX
from autoopt.search.study.verification import Verified
from autoopt.search.trial.record import COUNTED, State, TrialRecord

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from autoopt.search.study.lifecycle import Audience

RECENT_TRIALS = 5
"""Number of ended trials that the view shows."""
REFRESH_PER_S = 2.0


@dataclass(frozen=True)
class SearchInfo:
    """What the views need to know about a search before it starts."""

    study: str
    trials: int
    timeout_s: float | None
    baseline_id: str
    """Id of the baseline's recipe."""
    objectives: Mapping[str, Direction]


class Progress:
    """State of a search as far as it was observed, independent of how it is shown."""

    def __init__(self, info: SearchInfo, now: Callable[[], float] = time.monotonic) -> None:
        self.info, self.now, self.started_at = info, now, now()
        self.records: dict[int, TrialRecord] = {}
        """By trial number, in the order of their latest change."""
        self.stages: dict[int, tuple[str, float]] = {}
        """For each running trial, its stage and when the stage began."""
        self.ended_in_session = 0

    def observe(self, record: TrialRecord) -> bool:
        """Update the state; return False if the trial ended in an earlier session."""
        is_of_session = record.state is State.RUNNING or record.number in self.stages
        self.records.pop(record.number, None)  # So that it moves to the end.
        self.records[record.number] = record
        if record.state is State.RUNNING:
            self.stages[record.number] = ("waiting for a worker", self.now())
        elif self.stages.pop(record.number, None):
            self.ended_in_session += 1
        return is_of_session

    def stage(self, number: int, stage: str) -> None:
        if number in self.stages:
            previous, since = self.stages[number]
            is_same = previous.partition(",")[0] == stage.partition(",")[0]
            self.stages[number] = (stage, since if is_same else self.now())

    @property
    def baseline(self) -> TrialRecord | None:
        """The complete trial of the baseline; None until it is complete."""
        complete = (record for record in list(self.records.values()) if record.state is State.COMPLETE)
        return next((record for record in complete if record.recipe.id == self.info.baseline_id), None)

    @property
    def best(self) -> TrialRecord | None:
        """The feasible trial that would be the champion."""
        feasible = [record for record in list(self.records.values()) if record.feasible]
        return champion(feasible, self.info.objectives) if feasible else None

    @property
    def elapsed_s(self) -> float:
        return self.now() - self.started_at

    @property
    def counted(self) -> int:
        """Number of trials that count towards ``search.trials``."""
        return sum(record.state in COUNTED for record in list(self.records.values()))

    def describe_counts(self) -> str:
        counts = Counter(record.state for record in list(self.records.values()))
        feasible = sum(record.feasible for record in list(self.records.values()))
        return (
            f"{self.counted} of {self.info.trials} trials: {counts[State.COMPLETE]} complete ({feasible} feasible), "
            f"{counts[State.STOPPED]} stopped early, {counts[State.REJECTED]} rejected, {counts[State.FAILED]} failed"
        )

    def describe_time_left(self) -> str:
        """Describe the time until the timeout or, if sooner, the estimated end; empty if neither is known.

        Until the first trial has ended, the estimate is that of the baseline's training.
        """
        remaining = max(0, self.info.trials - self.counted)
        if not remaining:
            return ""
        candidates: list[tuple[float, str]] = []
        if self.info.timeout_s is not None:
            candidates.append((self.info.timeout_s - self.elapsed_s, "until the timeout"))
        if self.ended_in_session:
            candidates.append((remaining * self.elapsed_s / self.ended_in_session, "left (estimated)"))
        elif (baseline_s := self._baseline_training_left_s()) is not None:
            candidates.append((baseline_s, "until the baseline is trained (estimated)"))
        seconds, meaning = min(candidates, default=(0.0, ""))
        if seconds < 0:
            return "the time is used up, waiting for running trials"
        return f"{format_clock(seconds)} {meaning}" if round(seconds) else ""

    def _baseline_training_left_s(self) -> float | None:
        """Return the expected seconds until the baseline is trained, by its progress so far; None if unknown."""
        for number, (stage, since) in list(self.stages.items()):
            record, done = self.records.get(number), _training_progress(stage)
            if record is not None and record.recipe.id == self.info.baseline_id and done:
                return (self.now() - since) * (1 - done) / done
        return None


def _training_progress(stage: str) -> float:
    """Return how much of a stage's training is done, from ``full_finetuning, 40%``; 0 if it is not known."""
    percentage = stage.rpartition(", ")[2].removesuffix("%")
    return int(percentage) / 100 if percentage.isdecimal() else 0.0


class LogView:
    """Prints one line per event, for files and pipes. Stages of trials are left out."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress, self._console = progress, console

    def observe(self, record: TrialRecord) -> None:
        if not self._progress.observe(record):
            return
        if record.state is State.RUNNING:
            self.say(f"trial {record.number} started: {record.recipe}")
            return
        parts = [format_summary(record.measurements), describe_state(record)]
        self.say(f"trial {record.number} ended: {'; '.join(part for part in parts if part)}")
        time_left = self._progress.describe_time_left()
        self.say(self._progress.describe_counts() + (f", {time_left}" if time_left else ""))

    def say(self, message: str) -> None:
        stamp = f"[{format_clock(self._progress.elapsed_s)}] "
        self._console.print(plain_text(stamp + message), soft_wrap=True)

    def verified(self, model: Verified) -> None:
        self.say(describe_verified(model, self._progress.info))

    def stage(self, number: int, stage: str) -> None:
        self._progress.stage(number, stage)
        if stage.startswith("waiting for "):
            self.say(f"trial {number} is {stage}")

    def tick(self) -> None:
        """Do nothing: printed lines are final."""


class LiveView:
    """Redraws the state of the search in place, below the messages."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress, self._console = progress, console

    def observe(self, record: TrialRecord) -> None:
        self._progress.observe(record)

    def say(self, message: str) -> None:
        self._console.print(plain_text(message), soft_wrap=True)

    def verified(self, model: Verified) -> None:
        self.say(describe_verified(model, self._progress.info))

    def stage(self, number: int, stage: str) -> None:
        self._progress.stage(number, stage)

    def tick(self) -> None:
        """Do nothing: Rich redraws the view from a thread of its own."""

    def __rich__(self) -> RenderableType:
        return render_progress(self._progress)


@contextmanager
def show_progress(info: SearchInfo, console: Console) -> Iterator[Audience]:
    """Show a search on this console while it runs."""
    progress = Progress(info)
    if not console.is_terminal:
        yield LogView(progress, console)
        return
    from rich.live import Live

    view = LiveView(progress, console)
    with Live(view, console=console, refresh_per_second=REFRESH_PER_S, vertical_overflow="crop"):
        yield view


def render_progress(progress: Progress) -> RenderableType:
    """Return the whole view, the most important lines first: a low terminal crops the end."""
    from rich.console import Group

    time_left = progress.describe_time_left()
    times = f"{format_clock(progress.elapsed_s)} elapsed" + (f", {time_left}" if time_left else "")
    parts: list[RenderableType] = [
        f"[bold]{plain_text(progress.info.study)}[/bold]  {progress.describe_counts()}; {times}",
        _reference_line("baseline", progress.baseline, placeholder="not measured yet"),
        _reference_line("best", progress.best, placeholder="no feasible trial yet"),
    ]
    parts += [part for part in (_running_table(progress), _ended_table(progress)) if part is not None]
    return Group(*parts)


def describe_verified(model: Verified, info: SearchInfo) -> str:
    """Describe the result of verifying a model on one line."""
    name = "the baseline" if model.record.recipe.id == info.baseline_id else f"trial {model.record.number}"
    test = format_quality(model.test, prefix=TEST_PREFIX)
    if model.difference:
        test += ", " + " ".join(format_difference(model.difference))
    costs = format_summary({name: item for name, item in model.record.measurements.items() if name != QUALITY})
    return f"verified {name}: test quality {test}, {costs}; {describe_state(model.record)}"


def _running_table(progress: Progress) -> RenderableType | None:
    table = new_table("running", "stage", "for", "recipe")
    for number, (stage, since) in sorted(dict(progress.stages).items()):
        if record := progress.records.get(number):
            elapsed = format_clock(progress.now() - since)
            table.add_row(str(number), plain_text(stage), elapsed, plain_text(record.recipe))
    return table if table.row_count else None


def _ended_table(progress: Progress) -> RenderableType | None:
    """Return a table of the trials that ended most recently, the latest first; None if none has ended."""
    ended = [record for record in list(progress.records.values()) if record.state in COUNTED]
    table = new_table("ended", "quality", "latency", "faster", "outcome", "recipe")
    for record in reversed(ended[-RECENT_TRIALS:]):
        measured = record.measurements
        cells = [format_quality(measured), format_latency(measured.get("latency_p50"))]
        cells += [format_speedup(measured.get("latency_ratio")), describe_state(record), str(record.recipe)]
        table.add_row(str(record.number), *map(plain_text, cells))
    return table if table.row_count else None


def _reference_line(name: str, record: TrialRecord | None, *, placeholder: str) -> str:
    if record is None:
        return f"{name:<9} {placeholder}"
    measured = plain_text(format_summary(record.measurements))
    return f"{name:<9} {measured}  (trial {record.number}: {plain_text(record.recipe)})"
