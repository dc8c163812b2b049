"""What Tune calls during a search: each hook passes the event to the driver, and its decision back."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ray.tune import Callback, Stopper
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from autoopt.search.backends.ray_tune.private import error_text, kill_worker
from autoopt.search.ports import TrialSource, Watcher
from autoopt.search.trial.record import TrialRecord
from autoopt.strategies.errors import DiskFull, EnvironmentProblem

Answer = TypeVar("Answer")

CLOSE_TIMEOUT_S = 3.0
_OUT_OF_MEMORY = "low on memory"
"""Part of Ray's message about a worker that it killed for lack of memory."""
_NODE_DIED = "node has died"
"""Part of Ray's message about a worker whose node is gone."""


class Guard:
    """Calls the driver until it raises, and never again: Tune would go on with a driver that has failed.

    The hooks are never pickled: the study has their state, and its URL may be secret.
    """

    def __init__(self, driver: TrialSource) -> None:
        self.driver = driver
        self.failure: Exception | None = None
        """What ended the search; to be raised once Tune has returned."""
        self._lock = threading.RLock()
        self._is_closed = False

    def __call__(self, ask: Callable[[TrialSource], Answer], *, failed: Answer) -> Answer:
        """Return what ``ask`` returns; ``failed`` if it raises, or if the driver has failed before."""
        with self._lock:
            if self.failure is not None or self._is_closed:
                return failed
            try:
                return ask(self.driver)
            except Exception as error:  # noqa: BLE001  Raised again by the runner.
                self.failure = error
                return failed

    def close(self) -> bool:
        """Let no call follow, and return whether none is going on, so that the driver belongs to the caller again.

        A call that waits for a database is not waited for.
        """
        is_free = self._lock.acquire(timeout=CLOSE_TIMEOUT_S)
        self._is_closed = True
        if is_free:
            self._lock.release()
        return is_free

    def __getstate__(self) -> dict[str, Any]:
        return {}


class DriverSearcher(Searcher):  # type: ignore[misc]
    """Proposes the driver's trials, ``workers`` at a time."""

    def __init__(self, guard: Guard, workers: int) -> None:
        super().__init__(metric=None, mode=None)
        self._guard, self._workers = guard, workers
        self.numbers: dict[str, int] = {}
        """Number of each trial that was proposed and has not ended, by Tune's id."""
        self.without_node: set[str] = set()
        """Tune's ids of trials whose node died."""

    def suggest(self, trial_id: str) -> Any:
        if len(self.numbers) >= self._workers:
            return None
        assignment = self._guard(lambda driver: driver.next(), failed=None)
        if assignment is None:
            # A running trial may have to be measured again.
            return None if self.numbers and self._guard.failure is None else Searcher.FINISHED
        self.numbers[trial_id] = assignment.number
        return {"assignment": assignment.to_json()}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: ARG002
        number = self.numbers.pop(trial_id, None)
        if number is None:
            return
        if trial_id in self.without_node:
            self._guard(lambda driver: driver.dropped(number, "its node died"), failed=None)
        else:
            self._guard(lambda driver: driver.record_result(number), failed=None)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        pass

    def __getstate__(self) -> dict[str, Any]:
        return {}


class DriverScheduler(FIFOScheduler):  # type: ignore[misc]
    """Stops trials at their rungs as the driver decides."""

    def __init__(self, guard: Guard, searcher: DriverSearcher) -> None:
        super().__init__()
        self._guard, self._searcher = guard, searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        if "problem" in result and self._guard.failure is None:
            kind = DiskFull if result["kind"] == DiskFull.__name__ else EnvironmentProblem
            self._guard.failure = kind(result["problem"])
        if "rung" not in result:
            return str(FIFOScheduler.CONTINUE)
        record = TrialRecord.from_json(json.loads(result["rung"]))
        goes_on = self._guard(lambda driver: driver.should_continue(record), failed=True)
        return str(FIFOScheduler.CONTINUE if goes_on else FIFOScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        with contextlib.suppress(OSError):  # The disk may be full.
            text = error_text(trial)
            if _NODE_DIED in text:
                self._searcher.without_node.add(trial.trial_id)
            elif reason := reason_of_death(text):
                self._guard.driver.death_reasons[trial.config["assignment"]["number"]] = reason

    def __getstate__(self) -> dict[str, Any]:
        return {}


def reason_of_death(text: str) -> str:
    """Return why a worker died, from the text of Tune's errors: no memory, or what was raised; empty if unknown."""
    if _OUT_OF_MEMORY in text:
        return "its worker was killed, as memory ran out; fewer workers need less"
    _, frame, after = text.rpartition('\n  File "')
    raised = next((line for line in after.splitlines()[1:] if line and not line.startswith(" ")), "")
    return raised if frame else ""


class SilentProgress(TrialProgressCallback):  # type: ignore[misc]
    """Stands in for Tune's own report of trials, which it prints to stdout even if it is told to be quiet."""

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None: ...
    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None: ...


class DriverCallback(Callback):  # type: ignore[misc]
    """Tells the watcher what happens, and ends what Tune would wait for without end."""

    def __init__(self, guard: Guard, searcher: DriverSearcher, watcher: Watcher) -> None:
        self._guard, self._searcher, self._watcher = guard, searcher, watcher
        self.running: list[Any] = []
        """Tune's trials that ran at the end of the last step."""
        self._is_niceness_known = False

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:  # noqa: ARG002
        number = result["number"]
        self._guard(lambda driver: driver.reported(number), failed=None)
        with contextlib.suppress(Exception):  # The view must not fail the trial.
            self._warn_of_niceness(result.get("niceness", 0))
            self._watcher.stage(number, result.get("stage", "at a rung"))

    def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:  # noqa: ARG002
        self.running = [trial for trial in trials if trial.status == trial.RUNNING]
        for trial in trials:
            number = self._searcher.numbers.get(trial.trial_id)
            if number is not None:
                self._observe(trial, number)
        with contextlib.suppress(Exception):
            self._watcher.tick()

    def _warn_of_niceness(self, niceness: int) -> None:
        """Say once if workers have less priority than this process, as by default in a cluster of 'ray start'."""
        if niceness > os.nice(0) and not self._is_niceness_known:
            self._is_niceness_known = True
            self._watcher.say(
                f"warning: the workers of this Ray cluster run at niceness {niceness}, so other processes disturb the "
                "latencies that they measure; start each node with RAY_worker_niceness=0 in the environment of "
                "'ray start'"
            )

    def _observe(self, trial: Any, number: int) -> None:
        if trial.is_finished():
            # Tune drops trials without telling the searcher, such as the next one of a worker that cannot be reused.
            del self._searcher.numbers[trial.trial_id]
            self._guard(lambda driver: driver.dropped(number, "Ray ended it before it began"), failed=None)
        elif trial.status == trial.RUNNING:
            self._guard(lambda driver: driver.started(number), failed=None)
            if reason := self._guard(lambda driver: driver.why_expired(number), failed=""):
                self._guard.driver.death_reasons[number] = reason
                trial.max_failures = 0  # It is not tried again.
                kill_worker(trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class DriverStopper(Stopper):  # type: ignore[misc]
    """Stops all trials once they are overdue or the driver has failed."""

    def __init__(self, guard: Guard, callback: DriverCallback) -> None:
        self._guard, self._callback = guard, callback

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        must_stop = self._guard(lambda driver: driver.overdue(), failed=True)
        if must_stop:
            for trial in self._callback.running:  # Tune would wait for those that hang.
                kill_worker(trial)
        return must_stop

    def __getstate__(self) -> dict[str, Any]:
        return {}
