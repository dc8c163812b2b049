"""The private parts of Ray that this package uses, each behind one function with a test that fails if Ray changes it.

- ``ray.air.execution._internal.actor_manager.RayActorManager._actor_task_failed``: ``treat_oom_kill_as_worker_death``
- ``ray.tune.experiment.trial.Trial.error_file``, which has no stability annotation: ``error_text``
- ``ray.tune.experiment.trial.Trial.temporary_state``, which holds the worker: ``kill_worker``
- ``ray.tune.execution.class_cache``, which chooses the environment of workers: ``waiting_workers``
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any


@cache
def treat_oom_kill_as_worker_death() -> None:
    """Make Tune handle a worker that Ray killed for lack of memory like any other dead worker.

    Ray raises ``OutOfMemoryError`` for it, which Tune does not expect: the whole run would end with a
    ``RuntimeError``.
    """
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.exceptions import OutOfMemoryError, RayActorError

    original = RayActorManager._actor_task_failed

    def task_failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))
        original(self, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = task_failed


def error_text(trial: Any) -> str:
    """Return the text of the errors of a Tune trial.

    Read from the local copy: the one that ``Trial.get_error`` reads may not be synced yet.
    """
    return Path(trial.error_file).read_text(encoding="utf-8")


def kill_worker(trial: Any) -> None:
    """Kill the process that runs a Tune trial, even if it hangs; nothing if the trial has none."""
    import ray

    if (actor := trial.temporary_state.ray_actor) is not None:
        ray.kill(actor)


@contextmanager
def waiting_workers() -> Iterator[None]:
    """Make Tune use the processes that a local cluster has started in advance.

    Tune sets variables for its workers, for which Ray starts other processes; in a local cluster they inherit them.
    """
    from ray.tune.execution import class_cache

    before = class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = {}, frozenset()
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = before
