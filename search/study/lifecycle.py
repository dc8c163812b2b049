"""A search from beginning to end: open or resume the study, run its trials, verify its front, register the models."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from autoopt.objectives.judging.budget import IntervalEnd, Limit
from autoopt.objectives.judging.verdict import judge
from autoopt.objectives.measurement import Direction
from autoopt.search.backends.optuna_storage import database_url
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.choosing.front import aliases, losses, pareto
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.opening import directions
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.ports import Watcher
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import Space
from autoopt.search.space.start_design import baseline, start_design
from autoopt.search.study.confirmation import confirmed
from autoopt.search.study.driver import Driver
from autoopt.search.study.outcome import Outcome, compute_of, read_front, write_front, write_trials
from autoopt.search.study.verification import Verified, verify
from autoopt.search.study.warm_start import best_known
from autoopt.search.trial.record import State, TrialRecord
from autoopt.search.trial.stage_eviction import needed
from autoopt.search.trial.stage_store import addresses
from autoopt.strategies.errors import ExperimentError, TrialError
from autoopt.strategies.system.files import write_whole

GRACE = 0.1
"""As a share of the search's time: how long trials may go on after it."""


class Audience(Watcher, Protocol):
    """Who is told how the search goes; the terminal is one."""

    def observe(self, record: TrialRecord) -> None:
        """A trial was proposed or has ended."""

    def say(self, message: str) -> None:
        """Something happened that a person wants to know."""

    def verified(self, model: Verified) -> None:
        """A model of the front was measured again."""


class Tracking(Protocol):
    """Where trials are tracked: MLflow."""

    def record(self, record: TrialRecord) -> None: ...
    def sync(self, records: Sequence[TrialRecord]) -> int: ...


Run = Callable[[Driver, StudyFolder], None]
"""Runs trials until the driver has no more: on Ray, or in this process for a test."""

Register = Callable[[Outcome, StudyFolder], Mapping[int, int]]
"""Puts the models of a front into the registry and returns their versions by trial number; empty where it cannot."""


@dataclass(frozen=True)
class Search:
    """Everything that one search is made of."""

    experiment: Experiment
    root: Root
    space: Space
    run: Run
    register: Register
    tracking: Tracking
    audience: Audience

    @property
    def folder(self) -> StudyFolder:
        return self.root.study(self.experiment.study)

    @property
    def objectives(self) -> Mapping[str, Direction]:
        return directions(self.experiment)

    def complete(self) -> Outcome:
        """Run or resume the search, and verify its front. Whoever calls holds the study's lock.

        Raises ``TrialError`` where no trial at all came to an end, ``ExperimentError`` where the study was begun with
        another experiment.
        """
        study = self._open()
        timeout = self.experiment.search.timeout
        with needed(self.root.stages) as mark:

            def observe(record: TrialRecord) -> None:
                self._observe(record)
                mark(self._stages_of_front(driver.records))

            driver = Driver(
                study,
                self.folder,
                baseline=baseline(self.space),
                objectives=self.objectives,
                limits=self.experiment.budget,
                trials=self.experiment.search.trials,
                deadline=None if timeout is None else time.monotonic() + timeout,
                grace_s=GRACE * (timeout or 0.0),
                max_compute=self.experiment.search.max_compute,
                stop_when_gain=self.experiment.search.stop_when_gain,
                observe=observe,
            )
            self._resume(driver)
            driver.prepare(start_design(self.space), self._proven(driver))
            try:
                if driver.counted < self.experiment.search.trials:
                    self.run(driver, self.folder)
            finally:
                write_trials(driver.records, self.folder.trials_table)
                self.tracking.sync(driver.records)
        if driver.baseline is None:
            raise TrialError(_nothing_worked(driver))
        compute_s, saved_s = compute_of(driver.records)
        outcome = replace(
            self._verify(driver), stopped_because=driver.stopped_because, compute_s=compute_s, saved_s=saved_s
        )
        self._keep_models(outcome)
        write_front(outcome, self.folder.front)
        outcome = confirmed(outcome, self.folder, self.experiment, self.audience.say)
        outcome = replace(outcome, versions={**outcome.versions, **self.register(outcome, self.folder)})
        write_front(outcome, self.folder.front)
        return outcome

    def _keep_models(self, outcome: Outcome) -> None:
        """Make ``models/`` hold the verified front, the least violating model where the front is empty.

        ``predictions/`` then has a file for each verified model and none of an earlier front.
        """
        kept = outcome.models or outcome.failed[:1]
        self.folder.models.mkdir(exist_ok=True)
        wanted = {self.folder.kept_model(model.record.number): self.folder.model(model.record.number) for model in kept}
        for old in self.folder.models.iterdir():
            if old not in wanted:
                shutil.rmtree(old)
        for kept_model, model in wanted.items():
            if not kept_model.exists():
                shutil.copytree(model, kept_model)
        verified = {self.folder.predictions(number) for number in {*outcome.tried, outcome.baseline.record.number}}
        for old in set(self.folder.all_predictions.glob("*")) - verified:
            old.unlink()

    def _open(self) -> OptunaStudy:
        self.folder.path.mkdir(parents=True, exist_ok=True)
        if self.folder.experiment.is_file():
            begun = load_experiment(self.folder.experiment, ())
            if changed := self.experiment.differences(begun):
                raise ExperimentError(
                    f"the study '{self.experiment.study}' was begun with another experiment: {'; '.join(changed)}; "
                    "undo the change, or give the study another name with --set study=NAME"
                )
        study = OptunaStudy.open(
            self.experiment.storage.address() or database_url(self.root.optuna_database),
            self.experiment.study,
            self.space,
            objectives=self.objectives,
            limits=self.experiment.budget,
            sampler=self.experiment.search.sampler,
            seed=self.experiment.search.seed,
        )
        if "space" not in study.attributes:
            study.remember("space", self.space.to_json())
        elif study.attributes["space"] != self.space.to_json():
            raise ExperimentError(
                f"the study '{self.experiment.study}' was begun with another catalog of strategies, so that its trials "
                "cannot be compared with new ones; give the study another name with --set study=NAME"
            )
        write_whole(self.folder.experiment, self.experiment.to_yaml())
        return study

    def _resume(self, driver: Driver) -> None:
        if not driver.records:
            return
        adopted, lost = driver.reconcile()
        self.audience.say(
            f"resuming '{self.experiment.study}': {driver.counted} of {self.experiment.search.trials} trials are done"
            + (f", {adopted} had finished without anybody being told" if adopted else "")
            + (f", {lost} were cut off and will run again" if lost else "")
        )
        for record in driver.records:
            self.audience.observe(record)

    def _proven(self, driver: Driver) -> list[Recipe]:
        """What a new study begins with beside its start design."""
        if driver.records or not self.experiment.search.warm_start:
            return []
        found = best_known(self.experiment, self.root, self.space)
        if found:
            studies = ", ".join(sorted({f"'{study}'" for study, _ in found}))
            self.audience.say(f"warm start, recipes that were best in {studies}: {len(found)}")
        return [recipe for _, recipe in found]

    def _observe(self, record: TrialRecord) -> None:
        self.audience.observe(record)
        if record.state is not State.RUNNING:
            self.tracking.record(record)

    def _stages_of_front(self, records: Sequence[TrialRecord]) -> list[str]:
        """Where the stages of the front's recipes are kept; not evicted while the search goes on."""
        if not self.folder.origin.is_file():
            return []  # No worker has begun yet.
        start, seed = self.folder.origin.read_text(encoding="utf-8"), self.experiment.search.seed
        front = pareto([record for record in records if record.state is State.COMPLETE], self.objectives)
        return [where for record in front for where in addresses(record.recipe.steps, start, effort=1.0, seed=seed)]

    def _verify(self, driver: Driver) -> Outcome:
        complete = [record for record in driver.records if record.state is State.COMPLETE]
        feasible = [record for record in complete if record.feasible]
        reference = driver.baseline
        assert reference is not None  # noqa: S101
        front = pareto(feasible, self.objectives)
        others = [record for record in complete if record.number != reference.number]
        candidates = front or sorted(others, key=lambda record: record.total_violation)[:1]
        known = read_front(self.folder.front)
        if known and known.tried == {record.number for record in candidates}:
            return known  # Nothing is new, and the test split is not opened twice.
        self.audience.say(f"verifying the front in a fresh process, models to measure: {len(candidates)}")
        verified: list[Verified] = []
        for model in verify(self.folder, reference, [r for r in candidates if r.number != reference.number]):
            judged = judge_verified(model, verified[0] if verified else model, self.experiment.budget)
            self.audience.verified(judged)
            verified.append(judged)
        return self._outcome(verified, {record.number for record in candidates})

    def _outcome(self, verified: Sequence[Verified], candidates: set[int]) -> Outcome:
        reference = verified[0]
        tried = [model for model in verified if model.record.number in candidates]
        feasible = [model for model in tried if model.feasible]
        models = sorted(pareto(feasible, self.objectives), key=lambda model: losses(model, self.objectives))
        failed = [model for model in tried if not model.feasible]
        return Outcome(
            study=self.experiment.study,
            baseline=reference,
            models=tuple(models),
            named={alias: model.record.number for alias, model in aliases(models, self.objectives).items()},
            failed=tuple(sorted(failed, key=lambda model: model.record.total_violation)),
            beaten=tuple(model for model in feasible if model not in models),
        )


def judge_verified(model: Verified, reference: Verified, limits: Sequence[Limit]) -> Verified:
    """Judge a model's new measurements by the worse end of their intervals."""
    verdict = judge(model.measurements, limits, reference.measurements, end=IntervalEnd.WORSE)
    return replace(model, record=replace(model.record, violations=verdict.by_text))


def _nothing_worked(driver: Driver) -> str:
    failures = [record for record in driver.records if record.state is State.FAILED]
    if not failures:
        return f"the baseline did not come to an end: {driver.stopped_because or 'the search was stopped'}"
    reason = failures[-1].reason
    return f"{driver.stopped_because or 'the baseline did not come to an end'}; the last failure: {reason}"
