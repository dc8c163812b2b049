"""Runs trials on Ray Tune: warm workers with one trial each at a time, fed by the driver."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.search.backends.ray_tune.cluster import HEAD_INTERVAL_S, Cluster, HeadWatch
from autoopt.search.backends.ray_tune.private import treat_oom_kill_as_worker_death, waiting_workers
from autoopt.search.experiment.sections import ResourcesSection
from autoopt.search.paths import StudyFolder
from autoopt.search.ports import TrialSource, Watcher
from autoopt.search.trial.execution import Assignment, execute
from autoopt.search.trial.record import TrialRecord
from autoopt.strategies.errors import DatabaseUnavailable, EnvironmentProblem, StudyLocked
from autoopt.strategies.system.devices import training_on, worker_device
from autoopt.strategies.system.disk_full import is_disk_full

if TYPE_CHECKING:
    from autoopt.search.backends.ray_tune.hooks import Guard

_WORKER_RETRIES = 1
"""Number of times a trial is run again if its worker dies."""
_TUNE_END_S = 5.0
"""How long Tune has to end once no call of the driver follows."""


@dataclass(frozen=True)
class Slots:
    """Concurrent trials and the resources of each."""

    workers: int
    cpus: int
    gpus: float


def run(
    driver: TrialSource,
    folder: StudyFolder,
    *,
    resources: ResourcesSection,
    watcher: Watcher,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Run trials until the driver has no more, or the running ones are overdue.

    ``meanwhile`` is called while Ray starts, which takes seconds in which this process only waits.

    The trials that still run then, or on Ctrl-C, run again when the search is resumed; ``KeyboardInterrupt`` is
    re-raised. Raises ``EnvironmentProblem`` if no Ray cluster can be started or reached, or none that can run a trial,
    and what the driver raised.
    """
    scratch = folder.path / "ray"
    shutil.rmtree(scratch, ignore_errors=True)  # The study holds all results; the state of Tune is not needed.
    try:
        with Cluster(resources) as starting:
            meanwhile()
            gpus = starting.wait()
            from autoopt.search.backends.ray_tune.hooks import Guard

            guard = Guard(driver)
            try:
                _fit(guard, folder, scratch, Slots(resources.workers, resources.cpus_per_worker, gpus), watcher)
            except BaseException as error:
                _end(guard, scratch, error)
                raise
            _end(guard, scratch, guard.failure)
            if guard.failure is not None:
                raise guard.failure
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _end(guard: Guard, scratch: Path, error: BaseException | None) -> None:
    """Record what the running trials have left, unless the study cannot be written."""
    if error is not None and is_disk_full(error):
        shutil.rmtree(scratch, ignore_errors=True)  # So that there is space for what is still recorded.
    if guard.close() and not isinstance(error, DatabaseUnavailable | StudyLocked):
        guard.driver.give_up_running(guard.driver.stopped_because or "the search was stopped")


def _fit(guard: Guard, folder: StudyFolder, scratch: Path, slots: Slots, watcher: Watcher) -> None:
    """Run Tune until it ends; what the driver raises is kept by ``guard``."""
    from ray import tune

    from autoopt.search.backends.ray_tune import hooks

    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    treat_oom_kill_as_worker_death()
    head = HeadWatch()
    searcher = hooks.DriverSearcher(guard, slots.workers)
    callback = hooks.DriverCallback(guard, searcher, watcher)
    tuner = tune.Tuner(
        tune.with_resources(_trial, {"cpu": slots.cpus, "gpu": slots.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=hooks.DriverScheduler(guard, searcher),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            verbose=0,
            callbacks=[hooks.SilentProgress(), callback],
            failure_config=tune.FailureConfig(max_failures=_WORKER_RETRIES),
            stop=hooks.DriverStopper(guard, callback),
        ),
        param_space={"folder": str(folder.path), "threads": slots.cpus, "gpus": slots.gpus},
    )
    try:
        with nullcontext() if os.environ.get("RAY_ADDRESS") else waiting_workers():
            _wait_for(tuner.fit, head, guard)
    finally:
        head.close()


def _wait_for(fit: Callable[[], object], head: HeadWatch, guard: Guard) -> None:
    """Call ``fit`` in a thread, so that this one can end the search whatever Ray is waiting for.

    Raises what ``fit`` raises, ``EnvironmentProblem`` if the head of the cluster is gone, and ``KeyboardInterrupt``. In
    any case Tune is given time to end, since Ray ends a process that uses it after its shutdown.
    """
    result: Future[None] = Future()

    def call() -> None:
        try:
            fit()
        except BaseException as error:  # noqa: BLE001  Raised again by the thread that waits.
            result.set_exception(error)
        else:
            result.set_result(None)

    thread = threading.Thread(target=call, name="autoopt-tune", daemon=True)
    thread.start()
    try:
        while not result.done():
            head.check()
            with contextlib.suppress(TimeoutError):
                result.result(timeout=HEAD_INTERVAL_S)
        result.result()
    finally:
        if thread.is_alive():
            guard.close()
            thread.join(_TUNE_END_S)


def _trial(config: dict[str, Any]) -> None:
    """Run one trial in a worker. It reports its stages and rungs; the result is the record on disk."""
    import torch
    from ray import tune

    torch.set_num_threads(config["threads"])
    assignment = Assignment.from_json(config["assignment"])

    def report(stage: str) -> None:
        tune.report({"number": assignment.number, "stage": stage, "niceness": os.nice(0)})

    def judge(record: TrialRecord) -> None:
        # As text, since Tune flattens nested values. Does not return if the trial is stopped.
        tune.report({"number": assignment.number, "rung": json.dumps(record.to_json())})

    try:
        with training_on(worker_device(config["gpus"])):  # Ray shows a worker its own GPUs only.
            execute(assignment, StudyFolder(Path(config["folder"])), report, judge)
    except EnvironmentProblem as problem:  # It would stop every other trial too.
        tune.report({"number": assignment.number, "problem": str(problem), "kind": type(problem).__name__})
