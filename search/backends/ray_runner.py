"""Runs trials on Ray Tune: warm workers with one trial each at a time, fed by our own searcher."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autoopt.search.backends.ray_private import error_text, treat_oom_kill_as_worker_death
from autoopt.search.experiment.sections import ResourcesSection
from autoopt.search.paths import StudyFolder
from autoopt.search.ports import TrialSource, Watcher
from autoopt.search.trial.execution import Assignment, execute
from autoopt.search.trial.record import TrialRecord
from autoopt.strategies.errors import EnvironmentProblem

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_worker_niceness": "0",  # Ray's default of 15 distorts latencies on a busy machine.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune would swallow Ctrl-C and end as if successful.
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_WORKER_RETRIES = 1
"""Number of times a trial is run again if its worker dies."""
_OUT_OF_MEMORY = "low on memory"
"""Part of Ray's message about a worker that it killed for lack of memory."""


def run(driver: TrialSource, folder: StudyFolder, *, resources: ResourcesSection, watcher: Watcher) -> None:
    """Run trials until the driver has no more, or the running ones are overdue.

    The trials that still run then, or on Ctrl-C, run again when the search is resumed; ``KeyboardInterrupt`` is
    re-raised. Raises ``EnvironmentProblem`` if no Ray cluster can be started or reached.
    """
    _set_environment()
    scratch = folder.path / "ray"
    shutil.rmtree(scratch, ignore_errors=True)  # The study holds all results; the state of Tune is not needed.
    with _cluster(resources):
        try:
            _fit(driver, folder, scratch, resources, watcher)
        finally:
            driver.give_up_running(driver.stopped_because or "the search was stopped")
    shutil.rmtree(scratch, ignore_errors=True)


def _fit(
    driver: TrialSource, folder: StudyFolder, scratch: Path, resources: ResourcesSection, watcher: Watcher
) -> None:
    from ray import tune

    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.ERROR)
    treat_oom_kill_as_worker_death()
    slot = {"cpu": resources.cpus_per_worker, "gpu": resources.gpus_per_worker}
    tuner = tune.Tuner(
        tune.with_resources(_trial, slot),
        tune_config=tune.TuneConfig(
            search_alg=_searcher(driver),
            scheduler=_scheduler(driver),
            num_samples=-1,
            max_concurrent_trials=resources.workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            verbose=0,
            callbacks=[_callback(watcher)],
            failure_config=tune.FailureConfig(max_failures=_WORKER_RETRIES),
            stop=_stopper(driver),
        ),
        param_space={"folder": str(folder.path)},
    )
    tuner.fit()


def _trial(config: dict[str, Any]) -> None:
    """Run one trial in a worker. It reports its stages and rungs; the result is the record on disk."""
    import torch
    from ray import tune

    torch.set_num_threads(1)
    assignment = Assignment.from_json(config["assignment"])

    def report(stage: str) -> None:
        tune.report({"number": assignment.number, "stage": stage})

    def judge(record: TrialRecord) -> None:
        # As text, since Tune flattens nested values. Does not return if the trial is stopped.
        tune.report({"number": assignment.number, "rung": json.dumps(record.to_json())})

    execute(assignment, StudyFolder(Path(config["folder"])), report, judge)


def _searcher(driver: TrialSource) -> Any:
    from ray.tune.search import Searcher

    class DriverSearcher(Searcher):  # type: ignore[misc]
        """Proposes the driver's trials. It is never pickled: the study has its state, and the URL may be secret."""

        def __init__(self, driver: TrialSource) -> None:
            super().__init__(metric=None, mode=None)
            self._driver = driver
            self._numbers: dict[str, int] = {}

        def suggest(self, trial_id: str) -> Any:
            assignment = self._driver.next()
            if assignment is None:
                return Searcher.FINISHED
            self._numbers[trial_id] = assignment.number
            return {"assignment": assignment.to_json()}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: ARG002
            self._driver.record_result(self._numbers.pop(trial_id))

        def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
            pass

        def __getstate__(self) -> dict[str, Any]:
            return {}

    return DriverSearcher(driver)


def _scheduler(driver: TrialSource) -> Any:
    from ray.tune.schedulers import FIFOScheduler

    class DriverScheduler(FIFOScheduler):  # type: ignore[misc]
        """Stops trials at their rungs as the driver decides."""

        def __init__(self, driver: TrialSource) -> None:
            super().__init__()
            self._driver = driver

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
            if "rung" not in result or self._driver.should_continue(TrialRecord.from_json(json.loads(result["rung"]))):
                return str(FIFOScheduler.CONTINUE)
            return str(FIFOScheduler.STOP)

        def on_trial_error(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
            if _OUT_OF_MEMORY in error_text(trial):
                number = trial.config["assignment"]["number"]
                self._driver.death_reasons[number] = "its worker was killed, as memory ran out; fewer workers need less"

        def __getstate__(self) -> dict[str, Any]:
            return {}

    return DriverScheduler(driver)


def _stopper(driver: TrialSource) -> Any:
    from ray.tune import Stopper

    class DeadlineStopper(Stopper):  # type: ignore[misc]
        """Stops the running trials once they are overdue."""

        def __init__(self, driver: TrialSource) -> None:
            self._driver = driver

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
            return False

        def stop_all(self) -> bool:
            return self._driver.overdue()

        def __getstate__(self) -> dict[str, Any]:
            return {}

    return DeadlineStopper(driver)


def _callback(watcher: Watcher) -> Any:
    from ray.tune import Callback

    class WatcherCallback(Callback):  # type: ignore[misc]
        """Forwards Tune's events. Exceptions are suppressed, since they would fail the trial."""

        def __init__(self, watcher: Watcher) -> None:
            self._watcher = watcher

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:  # noqa: ARG002
            with contextlib.suppress(Exception):
                self._watcher.stage(result["number"], result.get("stage", "at a rung"))

        def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:  # noqa: ARG002
            with contextlib.suppress(Exception):
                self._watcher.tick()

        def __getstate__(self) -> dict[str, Any]:
            return {}

    return WatcherCallback(watcher)


@contextlib.contextmanager
def _cluster(resources: ResourcesSection) -> Iterator[None]:
    """Connect to the cluster at ``RAY_ADDRESS``, or start a local one."""
    import ray

    address = os.environ.get("RAY_ADDRESS", "local")
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        settings |= {"include_dashboard": False, "num_cpus": max(1, resources.workers * resources.cpus_per_worker)}
    try:
        for attempt in (1, 2):
            try:
                with _preserved_sigterm_handler():
                    ray.init(address=address, **settings)
                break
            except (ConnectionError, TimeoutError, RuntimeError) as error:
                ray.shutdown()
                if attempt == 2:
                    raise EnvironmentProblem(f"no Ray cluster at '{address}': {error}") from error
        yield
    finally:
        ray.shutdown()
        sys.stdout.flush()


@contextlib.contextmanager
def _preserved_sigterm_handler() -> Iterator[None]:
    """Restore our SIGTERM handler, which Ray replaces by one that exits silently."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _set_environment() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def check_cluster() -> str:
    """Start a cluster, stop it and return a description; raises ``EnvironmentProblem`` if that fails."""
    _set_environment()
    with _cluster(ResourcesSection(workers=1)):
        import ray

        return f"{ray.__version__} starts, with {ray.cluster_resources().get('CPU', 0):g} processors"
