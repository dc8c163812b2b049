"""The driver of a study: decides what runs next and books how it ended. Not here: Ray, the terminal, MLflow."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from autoopt.objectives.judging.budget import Limit
from autoopt.objectives.judging.verdict import judge, judge_measured, total
from autoopt.objectives.measurement import QUALITY, Direction
from autoopt.search.backends.optuna_study import OptunaStudy, ProposedTrial
from autoopt.search.choosing.front import fastness, losses, pareto
from autoopt.search.choosing.gain import WINDOW, gain_per_hour
from autoopt.search.choosing.halving import RungEntry, is_reliable, should_continue
from autoopt.search.paths import StudyFolder
from autoopt.search.space.recipe import Recipe, Steps
from autoopt.search.trial.execution import Assignment, finite, result_of
from autoopt.search.trial.record import COUNTED, State, TrialRecord
from autoopt.search.trial.rungs import quality_at_next_rung

_GIVE_UP_AFTER = 10
"""So many failures in a row mean that the next one fails too."""
TIME_IS_UP = "the time is used up"


class Driver:
    """Hands out trials and books their results, so that every trial counts exactly once.

    A result that arrives before the baseline's is kept back until the baseline is booked, since budgets may be
    relative to it.
    """

    def __init__(
        self,
        study: OptunaStudy,
        folder: StudyFolder,
        *,
        baseline: Recipe,
        objectives: Mapping[str, Direction],
        limits: tuple[Limit, ...],
        trials: int,
        deadline: float | None,
        grace_s: float = 0.0,
        max_compute: float | None = None,
        stop_when_gain: float | None = None,
        observe: Callable[[TrialRecord], None],
    ) -> None:
        self._study, self._folder, self._observe = study, folder, observe
        self._baseline, self._objectives, self._limits = baseline, objectives, limits
        self._trials, self._deadline, self._grace_s, self._max_compute = trials, deadline, grace_s, max_compute
        self._stop_when_gain = stop_when_gain
        self._records = {record.number: record for record in study.records()}
        self._kept_back: dict[int, TrialRecord] = {}
        self._looked_at = {record.number: record for record in self._records.values() if record.rungs}
        """By number, as it was at its last rung, or at its end."""
        self._stopped: dict[int, TrialRecord] = {}
        self._first: ProposedTrial | None = None
        self.death_reasons: dict[int, str] = {}
        """By number, what ended the worker of a trial that is about to be booked, where that is known."""
        self.stopped_because = ""

    @property
    def baseline(self) -> TrialRecord | None:
        """The booked baseline."""
        done = (record for record in self._records.values() if record.recipe.id == self._baseline.id)
        return next((record for record in done if record.state is State.COMPLETE), None)

    @property
    def records(self) -> list[TrialRecord]:
        return sorted(self._records.values(), key=lambda record: record.number)

    @property
    def counted(self) -> int:
        """Trials that count towards the number that was asked for: all that ran to an end of their own."""
        return sum(record.state in COUNTED for record in self._records.values()) + len(self._kept_back)

    def overdue(self) -> bool:
        """Whether the time is over for what runs as well; never before the baseline's end, since all else needs it."""
        if self._deadline is None or self.baseline is None or time.monotonic() < self._deadline + self._grace_s:
            return False
        self.stopped_because = self.stopped_because or TIME_IS_UP
        return True

    def reconcile(self) -> tuple[int, int]:
        """After a crash: book results that nobody was told of, give up trials without one; return how many of each.

        A trial that was given up is proposed again.
        """
        adopted = lost = 0
        for number in self._study.running():
            if self._result(number):
                self.record_result(number)
                adopted += 1
            else:
                self._mark_lost(number, "its worker or its driver is gone")
                lost += 1
        return adopted, lost

    def prepare(self, design: Sequence[Recipe], best_known: Sequence[Recipe] = ()) -> None:
        """Begin the baseline, which makes it trial 0; then what is proven elsewhere comes, then the start design."""
        if not any(record.recipe.id == self._baseline.id for record in self._records.values()):
            self._first = self._study.begin(self._baseline)
            self._records[self._first.number] = TrialRecord(self._first.number, self._baseline, State.RUNNING)
        self._study.enqueue(recipe for recipe in best_known if recipe.id != self._baseline.id)
        self._study.consider(recipe for recipe in design if recipe.id != self._baseline.id)

    def next(self) -> Assignment | None:
        """The next trial to run, or None where the search is over."""
        running = sum(record.state is State.RUNNING for record in self._records.values())
        full = self.counted + running - len(self._kept_back) >= self._trials
        if self._over() or (full and not self._first):
            return None
        busy = self._in_work()
        asked = self._first or self._study.ask(avoid=lambda recipe: not busy.isdisjoint(recipe.kept))
        self._first = None
        if asked is None:
            self.stopped_because = "the space holds no further recipe"
            return None
        self._records[asked.number] = TrialRecord(asked.number, asked.recipe, State.RUNNING)
        self._observe(self._records[asked.number])
        return Assignment(asked.number, asked.recipe, screened=asked.recipe.id != self._baseline.id)

    def should_continue(self, record: TrialRecord) -> bool:
        """Judge a trial at its last rung by its record so far. One that is stopped is booked when it has ended."""
        *_, rung = record.rungs
        self._looked_at[record.number] = record
        looks = [
            (seen.rungs[rung], later)
            for seen in self._looked_at.values()
            if rung in seen.rungs and (later := quality_at_next_rung(seen, rung)) is not None
        ]
        if not is_reliable(looks):
            return True
        others = [
            self._standing(seen, rung)
            for seen in self._looked_at.values()
            if rung in seen.rungs and seen.number != record.number
        ]
        complete = [self._standing(done) for done in self._records.values() if done.state is State.COMPLETE]
        if should_continue(self._standing(record, rung), others, complete):
            return True
        reason = f"{rung} its quality of {record.rungs[rung]:.3g} promised less than that of {len(others)} others"
        self._stopped[record.number] = replace(record, state=State.STOPPED, reason=reason)
        return False

    def _standing(self, record: TrialRecord, rung: str | None = None) -> RungEntry:
        """How a trial stands at this rung, or at its end."""
        measurements = dict(record.measurements)
        if rung is not None:
            measurements[QUALITY] = replace(measurements[QUALITY], value=record.rungs[rung])
        seen = replace(record, measurements=measurements)
        costs = [limit for limit in self._limits if limit.metric != QUALITY]
        excess = self._violations(seen, costs, self.baseline)
        return RungEntry(
            losses(seen, self._objectives),
            fastness(seen, self._objectives),
            total(excess),
        )

    def _in_work(self) -> set[Steps]:
        """What running trials are just computing for the stage store; whoever wants any of it would wait for them."""
        running, done = set[Steps](), set[Steps]()
        for number, record in self._records.items():
            if record.state is State.COMPLETE:
                done.update(record.recipe.kept)
            elif number in self._looked_at:  # At a rung, all before the recovery training is there.
                done.update(steps for steps in record.recipe.kept if not steps[-1].recovers)
            if record.state is State.RUNNING:
                running.update(record.recipe.kept)
        return running - done

    def record_result(self, number: int) -> None:
        """Take over the result that a worker left for this trial, or that it was stopped."""
        ended = self._stopped.pop(number, None) or self._result(number)
        if ended is None:
            reason = self.death_reasons.pop(number, "its worker died")
            self._settle(replace(self._records[number], state=State.FAILED, reason=reason))
            return
        record = finite(ended)
        if record.recipe.id != self._baseline.id and self.baseline is None and record.state is not State.FAILED:
            self._kept_back[number] = record
            return
        self._settle(record)
        if self.baseline is not None:
            for waiting in sorted(self._kept_back):
                self._settle(self._kept_back.pop(waiting))

    def _result(self, number: int) -> TrialRecord | None:
        begun = self._records.get(number)
        return result_of(number, begun.recipe, self._folder) if begun else None

    def give_up_running(self, reason: str) -> None:
        """End the search: book what has a result, propose the rest again when the study is resumed."""
        for number in self._study.running():
            if number in self._stopped or self._result(number):
                self.record_result(number)
            if number not in self._kept_back and self._records[number].state is State.RUNNING:
                self._mark_lost(number, reason)

    def _mark_lost(self, number: int, reason: str) -> None:
        record = self._records.pop(number, None)
        is_baseline = record is not None and record.recipe.id == self._baseline.id
        self._study.mark_lost(number, reason, again=not is_baseline)

    def _over(self) -> bool:
        if self.stopped_because:
            return True
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.stopped_because = TIME_IS_UP
        if self._max_compute is not None and sum(record.seconds for record in self.records) >= self._max_compute:
            self.stopped_because = "the compute is used up"
        if self._stop_when_gain is not None:
            gain = gain_per_hour(self.records, self._objectives)
            if gain is not None and gain < self._stop_when_gain:
                self.stopped_because = f"the last {WINDOW} trials added {gain:.2%} to the front for each hour of work"
        ended = [record for record in self.records if record.state in COUNTED]
        latest = ended[-_GIVE_UP_AFTER:]
        if len(latest) == _GIVE_UP_AFTER and all(record.state is State.FAILED for record in latest):
            self.stopped_because = f"{_GIVE_UP_AFTER} trials in a row failed, the last with {latest[-1].reason}"
        failed = (record for record in ended if record.recipe.id == self._baseline.id and record.state is State.FAILED)
        if broken := next(failed, None):
            self.stopped_because = f"the baseline failed with {broken.reason}"
        return bool(self.stopped_because)

    def _settle(self, record: TrialRecord) -> None:
        reference = self.baseline or (record if record.recipe.id == self._baseline.id else None)
        booked = replace(record, violations=self._violations(record, self._limits, reference))
        if booked.rungs:
            self._looked_at[booked.number] = booked
        self._study.tell(booked)
        self._records[record.number] = booked
        self._discard_beaten()
        self._observe(booked)

    def _violations(
        self, record: TrialRecord, limits: Sequence[Limit], reference: TrialRecord | None
    ) -> dict[str, float]:
        verdict = judge if record.state is State.COMPLETE else judge_measured
        return verdict(record.measurements, limits, reference.measurements if reference else {}).by_text

    def _discard_beaten(self) -> None:
        """Delete saved candidates that are on no front and not the least violating."""
        complete = [record for record in self._records.values() if record.state is State.COMPLETE]
        wanted = pareto(complete, self._objectives)
        wanted += pareto([record for record in complete if record.feasible], self._objectives)
        wanted += sorted(complete, key=lambda record: record.total_violation)[:1]
        kept = {record.number for record in wanted} | ({self.baseline.number} if self.baseline else set())
        for record in complete:
            if record.number not in kept:
                shutil.rmtree(self._folder.model(record.number), ignore_errors=True)
