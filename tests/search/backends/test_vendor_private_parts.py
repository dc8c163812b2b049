"""Private parts of Ray and Optuna: what is used still works, and nothing else is used."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoopt.search.backends.ray_tune.private import (
    error_text,
    treat_oom_kill_as_worker_death,
    waiting_workers,
)
from tests.places import ROOT

VENDORS = ("ray", "optuna", "optuna_dashboard", "mlflow")
USED = {
    ("private.py", "ray.air.execution._internal.actor_manager"),
    ("private.py", "_actor_task_failed"),
    ("optuna_rows.py", "optuna.storages._rdb"),
}
"""File and private module or attribute; each is described and tested with its file."""


def private_parts(path: Path) -> set[tuple[str, str]]:
    """Return the private modules of vendors that a file imports, and the private attributes of others that it uses."""
    parts: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            first, *rest = module.split(".")
            if first in VENDORS and any(name.startswith("_") for name in rest):
                parts.add((path.name, module))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            parts |= set() if is_own else {(path.name, node.attr)}
    return parts


def test_no_other_private_part_is_used() -> None:
    parts = set().union(*map(private_parts, (ROOT / "search" / "backends").rglob("*.py")))
    assert parts == USED


@pytest.fixture
def dead_task() -> tuple[Any, Any, list[Exception]]:
    """An actor manager with one live actor and one of its tasks, and the errors that Tune is told of."""
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.air.execution._internal.tracked_actor import TrackedActor
    from ray.air.execution._internal.tracked_actor_task import TrackedActorTask

    errors: list[Exception] = []
    manager = RayActorManager(SimpleNamespace(free_resources=lambda acquired_resource: None))
    actor = TrackedActor(0, on_error=lambda _, error: errors.append(error))
    manager._live_actors_to_ray_actors_resources[actor] = (None, None)
    return manager, TrackedActorTask(actor), errors


def test_a_worker_killed_for_memory_is_a_dead_worker_to_tune(dead_task: tuple[Any, Any, list[Exception]]) -> None:
    from ray.exceptions import OutOfMemoryError, RayActorError

    manager, task, errors = dead_task
    treat_oom_kill_as_worker_death()
    manager._actor_task_failed(task, OutOfMemoryError("the node was low on memory"))
    (error,) = errors
    assert isinstance(error, RayActorError)
    assert "low on memory" in str(error)
    assert manager.live_actors == []


def test_other_errors_of_a_worker_reach_tune_unchanged(dead_task: tuple[Any, Any, list[Exception]]) -> None:
    from ray.exceptions import RayActorError

    manager, task, errors = dead_task
    treat_oom_kill_as_worker_death()
    with pytest.raises(RuntimeError, match="unexpected exception: no error of Ray"):
        manager._actor_task_failed(task, ValueError("no error of Ray"))
    error = RayActorError(error_msg="it died")
    manager._actor_task_failed(task, error)
    assert errors == [error]


def test_the_error_of_a_trial_is_read_from_its_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.train._internal.storage import StorageContext
    from ray.tune.experiment import Trial

    monkeypatch.setattr(StorageContext, "_get_session_path", lambda _: str(tmp_path))  # It would need a cluster.
    storage = StorageContext(str(tmp_path), experiment_dir_name="tune", trial_dir_name="trial")
    trial = Trial("trainable", stub=True, storage=storage)
    trial.init_local_path()
    trial.handle_error(ValueError("the node was low on memory"))
    assert "low on memory" in error_text(trial)


def test_tune_asks_for_workers_of_the_default_environment_only_where_they_wait() -> None:
    from ray.tune.execution.class_cache import _ActorClassCache

    def variables() -> dict[str, str]:
        made = _ActorClassCache().get(type("Trainable", (), {}))
        return dict(made._default_options["runtime_env"].get("env_vars", {}))

    before = variables()
    with waiting_workers():
        assert variables() == {}
    assert variables() == before != {}
