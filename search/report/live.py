"""The search as it goes on, for a person: a view that is drawn anew in a terminal, a line for each event elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoopt.objectives.measurement import QUALITY, Direction
from autoopt.search.choosing.front import champion
from autoopt.search.report import formats, tables
from autoopt.search.report.sanitize import plain_text
from autoopt.search.study.verification import Verified
from autoopt.search.trial.record import COUNTED, State, TrialRecord

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from autoopt.search.study.lifecycle import Audience

LATEST = 5
"""How many finished trials stay in sight."""
DRAWN_PER_S = 2.0


@dataclass(frozen=True)
class Plan:
    """What a view has to know of the search beforehand."""

    study: str
    trials: int
    timeout_s: float | None
    baseline_id: str
    """The id of the baseline's recipe."""
    objectives: Mapping[str, Direction]


class Score:
    """What has happened so far. Kept apart from how it is shown."""

    def __init__(self, plan: Plan, now: Callable[[], float] = time.monotonic) -> None:
        self.plan, self.now, self.started = plan, now, now()
        self.records: dict[int, TrialRecord] = {}
        self.stages: dict[int, tuple[str, float]] = {}
        """For each running trial its stage, and when that began."""
        self.finished_here = 0

    def observe(self, record: TrialRecord) -> bool:
        """Take over a record; True where it is of a trial that began under these eyes, or that begins now."""
        is_new = record.state is State.RUNNING or record.number in self.stages
        self.records.pop(record.number, None)  # In the order in which they ended, not in which they began.
        self.records[record.number] = record
        if record.state is State.RUNNING:
            self.stages[record.number] = ("waiting for a worker", self.now())
        elif self.stages.pop(record.number, None):
            self.finished_here += 1
        return is_new

    def stage(self, number: int, stage: str) -> None:
        if number in self.stages:
            before, since = self.stages[number]
            goes_on = before.partition(",")[0] == stage.partition(",")[0]
            self.stages[number] = (stage, since if goes_on else self.now())

    @property
    def baseline(self) -> TrialRecord | None:
        ended = (record for record in list(self.records.values()) if record.state is State.COMPLETE)
        return next((record for record in ended if record.recipe.id == self.plan.baseline_id), None)

    @property
    def best(self) -> TrialRecord | None:
        """The feasible trial that would be the champion."""
        feasible = [record for record in list(self.records.values()) if record.feasible]
        return champion(feasible, self.plan.objectives) if feasible else None

    @property
    def used_s(self) -> float:
        return self.now() - self.started

    @property
    def counted(self) -> int:
        return sum(record.state in COUNTED for record in list(self.records.values()))

    def counts(self) -> str:
        found = Counter(record.state for record in list(self.records.values()))
        feasible = sum(record.feasible for record in list(self.records.values()))
        return (
            f"{self.counted} of {self.plan.trials} trials: {found[State.COMPLETE]} complete ({feasible} feasible), "
            f"{found[State.STOPPED]} stopped early, {found[State.REJECTED]} rejected, {found[State.FAILED]} failed"
        )

    def time_left(self) -> str:
        """What is left of the time limit, or a forecast from the mean trial, whichever is less."""
        left: list[tuple[float, str]] = []
        if self.plan.timeout_s is not None:
            left.append((self.plan.timeout_s - self.used_s, "left of the time limit"))
        rest = max(0, self.plan.trials - self.counted)
        if not rest:
            return ""
        if self.finished_here:
            left.append((rest * self.used_s / self.finished_here, "left by forecast"))
        if not left:
            return ""
        seconds, meaning = min(left)
        return f"{formats.clock(seconds)} {meaning}"


class PlainView:
    """A line for each event, for files and pipes. The stages of a trial are not among them."""

    def __init__(self, score: Score, console: Console) -> None:
        self._score, self._console = score, console

    def observe(self, record: TrialRecord) -> None:
        if not self._score.observe(record):
            return  # It was told in an earlier session.
        if record.state is State.RUNNING:
            self.say(f"trial {record.number} begins: {record.recipe}")
            return
        parts = [formats.summary(record.measurements), tables.verdict(record)]
        self.say(f"trial {record.number} ended: {'; '.join(part for part in parts if part)}")
        left = self._score.time_left()
        self.say(self._score.counts() + (f", {left}" if left else ""))

    def say(self, message: str) -> None:
        stamp = f"[{formats.clock(self._score.used_s)}] "
        self._console.print(plain_text(stamp + message), soft_wrap=True)

    def verified(self, model: Verified) -> None:
        self.say(verified_line(model, self._score.plan))

    def stage(self, number: int, stage: str) -> None:
        self._score.stage(number, stage)

    def tick(self) -> None:
        """Nothing: what is written stays."""


class LiveView:
    """Drawn anew twice a second below the messages."""

    def __init__(self, score: Score, console: Console) -> None:
        self._score, self._console = score, console

    def observe(self, record: TrialRecord) -> None:
        self._score.observe(record)

    def say(self, message: str) -> None:
        self._console.print(plain_text(message), soft_wrap=True)

    def verified(self, model: Verified) -> None:
        self._console.print(plain_text(verified_line(model, self._score.plan)), soft_wrap=True)

    def stage(self, number: int, stage: str) -> None:
        self._score.stage(number, stage)

    def tick(self) -> None:
        """Nothing: the view redraws itself, also while nothing happens."""

    def __rich__(self) -> RenderableType:
        return picture(self._score)


@contextmanager
def watching(plan: Plan, console: Console) -> Iterator[Audience]:
    """Show a search on this console while it goes on."""
    score = Score(plan)
    if not console.is_terminal:
        yield PlainView(score, console)
        return
    from rich.live import Live

    view = LiveView(score, console)
    with Live(view, console=console, refresh_per_second=DRAWN_PER_S, vertical_overflow="crop"):
        yield view


def picture(score: Score) -> RenderableType:
    """The whole view: what matters most comes first, for a low terminal cuts the end."""
    from rich.console import Group

    left = score.time_left()
    times = f"{formats.clock(score.used_s)} used" + (f", {left}" if left else "")
    parts: list[RenderableType] = [
        f"[bold]{plain_text(score.plan.study)}[/bold]  {score.counts()}; {times}",
        _reference("baseline", score.baseline, "not measured yet"),
        _reference("best", score.best, "nothing feasible yet"),
    ]
    parts += [part for part in (_running(score), _ended(score)) if part is not None]
    return Group(*parts)


def verified_line(model: Verified, plan: Plan) -> str:
    """What the second measurement of a model has shown."""
    name = "the baseline" if model.record.recipe.id == plan.baseline_id else f"trial {model.record.number}"
    test = formats.quality(model.test, prefix="test_")
    if model.difference:
        test += ", " + " ".join(formats.to_baseline(model.difference))
    seen = formats.summary({n: m for n, m in model.record.measurements.items() if n != QUALITY})
    return f"verified {name}: test quality {test}, {seen}; {tables.verdict(model.record)}"


def _running(score: Score) -> RenderableType | None:
    shown = tables.table("running", "stage", "in it", "recipe")
    for number, (stage, since) in sorted(dict(score.stages).items()):
        if record := score.records.get(number):
            time_in_it = formats.clock(score.now() - since)
            shown.add_row(str(number), plain_text(stage), time_in_it, plain_text(record.recipe))
    return shown if shown.row_count else None


def _ended(score: Score) -> RenderableType | None:
    """The trials that ended last, the latest first."""
    ended = [record for record in list(score.records.values()) if record.state in COUNTED]
    shown = tables.table("ended", "quality", "latency", "faster", "outcome")
    for record in reversed(ended[-LATEST:]):
        measured = record.measurements
        cells = [formats.quality(measured), formats.latency(measured.get("latency_p50"))]
        cells += [formats.speed(measured.get("latency_ratio")), tables.verdict(record)]
        shown.add_row(str(record.number), *map(plain_text, cells))
    return shown if shown.row_count else None


def _reference(name: str, record: TrialRecord | None, otherwise: str) -> str:
    if record is None:
        return f"{name:<9} {otherwise}"
    measured = plain_text(formats.summary(record.measurements))
    return f"{name:<9} {measured}  (trial {record.number}: {plain_text(record.recipe)})"
