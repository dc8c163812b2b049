"""The driver of a study: decides which trial runs next and records how each ended. Ray is elsewhere."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from autoopt.objectives.judging.budget import Limit
from autoopt.objectives.measurement import Direction
from autoopt.search.backends.optuna_study import OptunaStudy, ProposedTrial
from autoopt.search.choosing.expected_time import SAME_SIZE, TooLong, expected_seconds
from autoopt.search.choosing.front import pareto
from autoopt.search.choosing.memory_needs import MemoryNeeds
from autoopt.search.paths import StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.study.rung_scheduler import RungScheduler
from autoopt.search.study.stopping import TIME_IS_UP, StoppingRule
from autoopt.search.study.verdicts import rests_on_noise, violations_of
from autoopt.search.trial.execution import Assignment, fail_if_not_finite, load_result
from autoopt.search.trial.record import COUNTED, State, TrialRecord
from autoopt.search.trial.trial_clock import TrialClock

NOTHING_FITS = "no further recipe can be tried in the time that is left"
MAX_DROPS = 3
"""Number of times that a trial may end by no fault of its own, as its node died."""


class Driver:
    """Hands out trials and records their results, so that every trial counts exactly once.

    Results that arrive before the baseline's are held back until the baseline is complete, since budgets may be
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
        stopping: StoppingRule,
        observe: Callable[[TrialRecord], None],
        clock: TrialClock | None = None,
        sizes: Mapping[str, float] = SAME_SIZE,
        gpu_bytes: int | None = None,
    ) -> None:
        self._study, self._folder, self._observe = study, folder, observe
        self._baseline, self._objectives, self._limits = baseline, objectives, limits
        self._stopping, self._clock = stopping, clock or TrialClock("none")
        self._sizes, self._gpu_bytes = sizes, gpu_bytes
        self._records = {record.number: record for record in study.records()}
        self.rungs = RungScheduler(objectives, limits, self._records.values())
        self._held_back: dict[int, TrialRecord] = {}
        self._stopped: dict[int, TrialRecord] = {}
        self._drops = Counter[str]()
        """How often each recipe was dropped by the runner, by its id."""
        self._second_looks: list[int] = []
        """Trials to be measured again before the search ends, since only a disturbed measurement rules them out."""
        self._looked_twice: set[int] = set()
        self._nothing_fitted: int | None = None
        """How many trials had ended when no recipe was short enough for the time left; None if one was."""
        self._without_model: set[int] = set()
        """Numbers of the trials whose model was deleted."""
        self._unstarted_baseline: ProposedTrial | None = None
        self.death_reasons: dict[int, str] = {}
        """Why the worker of a trial died, if known; by trial number, set before ``record_result``."""
        self.stopped_because = ""

    @property
    def baseline(self) -> TrialRecord | None:
        """The complete baseline; None until it has ended."""
        return next((record for record in self._complete if record.recipe.id == self._baseline.id), None)

    @property
    def records(self) -> list[TrialRecord]:
        """All trials by number."""
        return sorted(self._records.values(), key=lambda record: record.number)

    @property
    def _complete(self) -> list[TrialRecord]:
        return [record for record in self._records.values() if record.state is State.COMPLETE]

    @property
    def counted(self) -> int:
        """Number of ended trials, which count towards the number of trials of the search."""
        return sum(record.state in COUNTED for record in self._records.values()) + len(self._held_back)

    def overdue(self) -> bool:
        """Whether running trials must end too."""
        if not self._stopping.is_overdue():
            return False
        self.stopped_because = self.stopped_because or TIME_IS_UP
        return True

    def reconcile(self) -> tuple[int, int]:
        """Record the results left by a crashed driver and propose its unfinished trials again.

        Returns the number of trials of either kind.
        """
        adopted = lost = 0
        for number in self._study.running():
            if self._read_result(number):
                self.record_result(number)
                adopted += 1
            else:
                self._mark_lost(number, "its worker or its driver is gone")
                lost += 1
        return adopted, lost

    def prepare(self, design: Sequence[Recipe], best_known: Sequence[Recipe] = ()) -> None:
        """Propose the baseline first, as trial 0, then the recipes that are ``best_known``, then the start design."""
        if not any(record.recipe.id == self._baseline.id for record in self._records.values()):
            self._propose_baseline()
        self._study.enqueue(recipe for recipe in best_known if recipe.id != self._baseline.id)
        others = (recipe for recipe in design if recipe.id != self._baseline.id)
        self._study.consider(others, base=self._baseline)

    def next(self) -> Assignment | None:
        """Return the next trial to run; None if the search is over."""
        running = sum(record.state is State.RUNNING for record in self._records.values())
        is_full = self.counted + running - len(self._held_back) >= self._stopping.trials
        if self._is_over() or (is_full and not self._unstarted_baseline):
            return self._second_look()
        if running and self.counted == self._nothing_fitted:
            return None  # A stage that is being computed may make others short enough.
        busy, memory = self._stages_in_progress(), self._memory_needs()
        too_long = TooLong.of(self._complete, self._sizes, self._stopping.seconds_left())
        trial = self._unstarted_baseline or self._study.ask(
            avoid=lambda recipe: not busy.isdisjoint(recipe.stored_prefixes),
            exclude=lambda recipe: memory.exceeds(recipe) or too_long(recipe),
        )
        self._unstarted_baseline = None
        if trial is None:
            self._nothing_fitted = self.counted if too_long.excluded else None
            if not (too_long.excluded and running):
                self.stopped_because = NOTHING_FITS if too_long.excluded else "the space holds no further recipe"
            return self._second_look()
        self._observe(self._add_running(trial))
        # A trunk is trained for the leaves to come, even if it serves too slowly itself.
        screened = bool(trial.recipe.leaf)
        return Assignment(trial.number, trial.recipe, screened, trial.attempt, memory.peaks(trial.recipe))

    def _second_look(self) -> Assignment | None:
        """Return a trial to be measured once more; None if there is none, or no time."""
        if not self._second_looks or self.stopped_because == TIME_IS_UP:
            return None
        number = self._second_looks.pop(0)
        self._looked_twice.add(number)
        record = self._records[number]
        peaks = self._memory_needs().peaks(record.recipe)
        return Assignment(number, record.recipe, attempt=record.attempt, peaks=peaks)

    def _memory_needs(self) -> MemoryNeeds:
        return MemoryNeeds.of(self._records.values(), total_bytes=self._gpu_bytes)

    def started(self, number: int) -> None:
        """Start the time of the search with its first trial, and the time of each trial."""
        self._stopping = self._stopping.started()
        record = self._records.get(number)
        if record is not None and record.state is State.RUNNING and number not in self._clock:
            complete = self._complete
            expected_s = expected_seconds([record.recipe], complete, self._sizes)[0] if complete else None
            self._clock.start(number, expected_s)

    def reported(self, number: int) -> None:
        """Take note that a trial proceeds."""
        self._clock.report(number)

    def why_expired(self, number: int) -> str:
        """Return why a running trial must be killed; empty if it may go on or has a result."""
        reason = self._clock.why_expired(number)
        return reason if reason and not self._read_result(number) else ""

    def dropped(self, number: int, reason: str) -> None:
        """Propose a trial again that ended by no fault of its own; after ``MAX_DROPS`` times it counts as failed."""
        if number in self._stopped or self._read_result(number):
            self.record_result(number)
            return
        recipe = self._records[number].recipe
        self._drops[recipe.id] += 1
        if self._drops[recipe.id] < MAX_DROPS or self.stopped_because:
            self._mark_lost(number, self.stopped_because or reason)
            if recipe.id == self._baseline.id and not self.stopped_because:
                self._propose_baseline()
        else:
            self.death_reasons.setdefault(number, f"{reason}, {MAX_DROPS} times")
            self.record_result(number)

    def should_continue(self, record: TrialRecord) -> bool:
        """Judge a trial at its last rung; the baseline always continues.

        A trial that is stopped is recorded once it has ended.
        """
        if record.recipe.id == self._baseline.id:
            self.rungs.update(record)
            return True
        reference = self.baseline.measurements if self.baseline else {}
        reason = self.rungs.reason_to_stop(record, self._complete, reference)
        if reason:
            self.stop(record, reason)
        return not reason

    def stop(self, record: TrialRecord, reason: str) -> None:
        """Take ``record`` for the result of a trial that stops at its last rung."""
        attempt = self._records[record.number].attempt
        self._stopped[record.number] = replace(record, state=State.STOPPED, reason=reason, attempt=attempt)

    def record_result(self, number: int) -> None:
        """Record how a trial ended: stopped, with the result that its worker left, or without one."""
        self._clock.stop(number)
        ended = self._stopped.pop(number, None) or self._read_result(number)
        if ended is None:
            reason = self.death_reasons.pop(number, "its worker died")
            self._settle(replace(self._records[number], state=State.FAILED, reason=reason))
            return
        record = fail_if_not_finite(ended)
        if record.recipe.id != self._baseline.id and self.baseline is None and record.state is not State.FAILED:
            self._held_back[number] = record
            return
        self._settle(record)
        if self.baseline is not None:
            for waiting in sorted(self._held_back):
                self._settle(self._held_back.pop(waiting))

    def give_up_running(self, reason: str) -> None:
        """End the search: record the results there are; the other running trials run again when it is resumed."""
        for number in self._study.running():
            if number in self._stopped or self._read_result(number):
                self.record_result(number)
            if number not in self._held_back and self._records[number].state is State.RUNNING:
                self._mark_lost(number, reason)

    def _propose_baseline(self) -> None:
        self._unstarted_baseline = self._study.begin(self._baseline)
        self._add_running(self._unstarted_baseline)

    def _add_running(self, trial: ProposedTrial) -> TrialRecord:
        record = TrialRecord(trial.number, trial.recipe, State.RUNNING, attempt=trial.attempt)
        self._records[trial.number] = record
        return record

    def _is_over(self) -> bool:
        self.stopped_because = self.stopped_because or self._stopping(
            self.records, objectives=self._objectives, baseline=self._baseline
        )
        return bool(self.stopped_because)

    def _stages_in_progress(self) -> set[Recipe]:
        """Return the stages that running trials are computing; a trial that needs one of them would have to wait."""
        running, done = set[Recipe](), set[Recipe]()
        for number, record in self._records.items():
            if record.state is State.COMPLETE:
                done.update(record.recipe.stored_prefixes)
            elif self.rungs.has_reached_rung(number):  # At a rung all stages before the recovery training are stored.
                done.update(prefix for prefix in record.recipe.stored_prefixes if not prefix.steps[-1].recovers)
            if record.state is State.RUNNING:
                running.update(record.recipe.stored_prefixes)
        return running - done

    def _read_result(self, number: int) -> TrialRecord | None:
        record = self._records.get(number)
        return load_result(number, record.recipe, self._folder, attempt=record.attempt) if record else None

    def _mark_lost(self, number: int, reason: str) -> None:
        self._clock.stop(number)
        record = self._records.pop(number, None)
        is_baseline = record is not None and record.recipe.id == self._baseline.id
        self._study.mark_lost(number, reason, again=not is_baseline)

    def _settle(self, record: TrialRecord) -> None:
        reference = self.baseline or (record if record.recipe.id == self._baseline.id else None)
        measurements = reference.measurements if reference else {}
        judged = replace(record, violations=violations_of(record, self._limits, measurements))
        if self._needs_second_look(judged):
            self._folder.result(record.number).unlink(missing_ok=True)
            self._second_looks.append(record.number)
            return
        self.rungs.update(judged)
        self._study.tell(judged)
        self._records[record.number] = judged
        self._delete_dominated_models()
        self._observe(judged)

    def _needs_second_look(self, record: TrialRecord) -> bool:
        is_first = record.number not in self._looked_twice and record.recipe.id != self._baseline.id
        return is_first and rests_on_noise(record, self._limits)

    def _delete_dominated_models(self) -> None:
        """Delete the saved candidates that are on no front, except the baseline's and the least violating one."""
        complete = self._complete
        useful = pareto(complete, self._objectives)
        useful += pareto([record for record in complete if record.feasible], self._objectives)
        useful += sorted(complete, key=lambda record: record.total_violation)[:1]
        numbers = {record.number for record in useful} | ({self.baseline.number} if self.baseline else set())
        for number in {record.number for record in complete} - numbers - self._without_model:
            shutil.rmtree(self._folder.model(number), ignore_errors=True)
            self._without_model.add(number)
