"""A search from beginning to end: open or resume the study, run its trials, verify its front, register the models."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from autoopt.objectives.measurement import Direction
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.choosing.front import pareto
from autoopt.search.experiment.experiment import Experiment
from autoopt.search.experiment.opening import directions
from autoopt.search.experiment.time_plan import Deadline
from autoopt.search.identity.admission import Admission
from autoopt.search.identity.fingerprints import Inputs
from autoopt.search.identity.owner import Holder
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.ports import Watcher
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import Space
from autoopt.search.space.start_design import baseline, start_design
from autoopt.search.study.confirmation import confirm
from autoopt.search.study.constant_answer import doubt_about
from autoopt.search.study.driver import Driver
from autoopt.search.study.front import keep_models, verify_front
from autoopt.search.study.outcome import Outcome, compute_of, write_front, write_trials
from autoopt.search.study.stopping import StoppingRule
from autoopt.search.study.verification import Verified
from autoopt.search.study.warm_start import best_known
from autoopt.search.trial.record import State, TrialRecord
from autoopt.search.trial.stage_eviction import pinning
from autoopt.search.trial.stage_store import addresses
from autoopt.search.trial.trial_clock import TrialClock
from autoopt.strategies.errors import TrialError
from autoopt.strategies.system.devices import largest_gpu_bytes
from autoopt.strategies.system.failpoints import failpoint

GRACE_SHARE = 0.2
"""How long running trials may go on after their time is up, as a share of that for the front's verification."""


class Audience(Watcher, Protocol):
    """Observer of a whole search, such as the terminal."""

    def observe(self, record: TrialRecord) -> None:
        """Called when a trial was proposed and when it has ended."""

    def verified(self, model: Verified) -> None:
        """Called when a model of the front was verified."""


class Tracking(Protocol):
    """Records trials elsewhere, such as in MLflow."""

    def record(self, record: TrialRecord) -> None: ...
    def sync(self, records: Sequence[TrialRecord]) -> int: ...


Run = Callable[[Driver, StudyFolder], None]
"""Runs trials until the driver has no more: on Ray, or in this process in tests."""

Register = Callable[[Outcome, StudyFolder], Mapping[int, int]]
"""Registers the models of a front and returns their versions by trial number; empty if the registry is unavailable."""


@dataclass(frozen=True)
class Search:
    """One search with everything that it needs."""

    experiment: Experiment
    root: Root
    space: Space
    run: Run
    register: Register
    tracking: Tracking
    audience: Audience
    inputs: Inputs | None = None
    """Fingerprints of data and model; read again if None."""
    holder: Holder = field(default_factory=Holder.here)
    """Who holds the study's lock."""
    constant_quality: float | None = None
    """Quality of always giving the commonest answer, if known."""
    bag_of_words_quality: float | None = None
    """Quality of a linear model of words, if known."""
    deadline: Deadline | None = None
    """The time of the whole command; by default the experiment's timeout from the first trial's start."""

    @property
    def folder(self) -> StudyFolder:
        return self.root.study(self.experiment.study)

    @property
    def objectives(self) -> Mapping[str, Direction]:
        return directions(self.experiment)

    def complete(self) -> Outcome:
        """Run or resume the search and verify its front. The caller must hold the study's lock.

        Raises ``TrialError`` if the baseline did not complete, ``ExperimentError`` if the study was started with
        another experiment.
        """
        driver = self._run_trials()
        if driver.baseline is None:
            raise TrialError(_describe_failure(driver))
        outcome = verify_front(
            driver.records,
            driver.baseline,
            self.folder,
            self.experiment,
            say=self.audience.say,
            observe=self.audience.verified,
            seconds=None if self.deadline is None else self.deadline.left_s,
        )
        compute_s, saved_s = compute_of(driver.records)
        outcome = replace(
            outcome,
            stopped_because=driver.stopped_because,
            compute_s=compute_s,
            saved_s=saved_s,
            doubt=self._doubt_about(driver.baseline),
        )
        keep_models(outcome, self.folder)
        failpoint("before-front")
        write_front(outcome, self.folder.front)
        failpoint("after-front")
        outcome = confirm(outcome, self.folder, self.experiment, self.audience.say)
        outcome = replace(outcome, versions={**outcome.versions, **self.register(outcome, self.folder)})
        write_front(outcome, self.folder.front)
        return outcome

    def _run_trials(self) -> Driver:
        study = self._open()
        with pinning(self.root.stages) as mark:

            def observe(record: TrialRecord) -> None:
                self._observe(record)
                mark(self._stages_of_front(driver.records))

            driver = Driver(
                study,
                self.folder,
                baseline=baseline(self.space),
                objectives=self.objectives,
                limits=self.experiment.budget,
                stopping=self._stopping_rule(),
                observe=observe,
                clock=TrialClock(self.experiment.search.trial_timeout),
                sizes=self.space.sizes,
                gpu_bytes=None if os.environ.get("RAY_ADDRESS") else largest_gpu_bytes(),
            )
            self._resume(driver)
            driver.prepare(start_design(self.space), self._best_known(driver))
            try:
                if driver.counted < self.experiment.search.trials:
                    self.run(driver, self.folder)
            finally:
                write_trials(driver.records, self.folder.trials_table, list(self.experiment.base_models))
                self.tracking.sync(driver.records)
        return driver

    def _stopping_rule(self) -> StoppingRule:
        search, deadline = self.experiment.search, self.deadline or Deadline(self.experiment.search.timeout)
        return StoppingRule(
            trials=search.trials,
            timeout_s=deadline.trials_s,
            grace_s=GRACE_SHARE * deadline.verification_s,
            max_compute_s=search.max_compute,
            stop_when_gain=search.stop_when_gain,
            started_at=deadline.started_at,
        )

    def _open(self) -> OptunaStudy:
        admission = Admission(self.experiment, self.root, self.space, self.audience.say, self.inputs, self.holder)
        return admission.open()

    def _resume(self, driver: Driver) -> None:
        if not driver.records:
            return
        adopted, lost = driver.reconcile()
        self.audience.say(
            f"resuming '{self.experiment.study}': {driver.counted} of {self.experiment.search.trials} trials are done"
            + (f", {adopted} had finished unrecorded" if adopted else "")
            + (f", {lost} were cut off and will run again" if lost else "")
        )
        for record in driver.records:
            self.audience.observe(record)

    def _best_known(self, driver: Driver) -> list[Recipe]:
        """Return the recipes of earlier studies that a new study tries before its start design."""
        if driver.records or not self.experiment.search.warm_start:
            return []
        recipes = best_known(self.experiment, self.root, self.space)
        if recipes:
            studies = ", ".join(sorted({f"'{study}'" for study, _ in recipes}))
            self.audience.say(f"warm start, recipes that were best in {studies}: {len(recipes)}")
        return [recipe for _, recipe in recipes]

    def _observe(self, record: TrialRecord) -> None:
        self.audience.observe(record)
        if record.state is not State.RUNNING:
            self.tracking.record(record)
        if record.recipe.id == baseline(self.space).id and (doubt := self._doubt_about(record)):
            self.audience.say(f"warning: {doubt}")

    def _doubt_about(self, baseline: TrialRecord) -> str:
        return doubt_about(baseline, self.constant_quality, self.bag_of_words_quality)

    def _stages_of_front(self, records: Sequence[TrialRecord]) -> list[str]:
        """Return the addresses of the stages of the front's recipes, which must not be evicted during the search."""
        seed = self.experiment.search.seed
        stages: list[str] = []

        def origin_of(label: str) -> str:
            return self.folder.origin_of(self.experiment.recipe_model(label)).read_text(encoding="utf-8")

        for record in pareto([record for record in records if record.state is State.COMPLETE], self.objectives):
            origin = self.folder.origin_of(record.recipe.model)
            if origin.is_file():  # Written by the first worker that opens the base model.
                start = origin.read_text(encoding="utf-8")
                stages += addresses(record.recipe.steps, start, effort=1.0, seed=seed, origin_of=origin_of)
        return stages


def _describe_failure(driver: Driver) -> str:
    failures = [record for record in driver.records if record.state is State.FAILED]
    if not failures:
        return f"the baseline did not finish: {driver.stopped_because or 'the search was stopped'}"
    return f"{driver.stopped_because or 'the baseline did not finish'}; the last failure: {failures[-1].reason}"
