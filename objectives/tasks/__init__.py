"""Tasks, one folder each: this folder is their registry. Files beside the folders are shared by several tasks."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from autoopt.objectives.task import Task
from autoopt.strategies.errors import UsageError, did_you_mean


def tasks() -> tuple[str, ...]:
    """Return the names of all tasks, without importing them."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg))


def find_task(name: str) -> type[Task]:
    """Return the task of this name. Raises ``UsageError`` with the nearest name."""
    if name not in tasks():
        raise UsageError(f"'{name}' is no task{did_you_mean(name, tasks())}; tasks are {', '.join(tasks())}")
    module = importlib.import_module(f"{__name__}.{name}.task")
    defined = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
    ]
    if len(defined) != 1:
        raise TypeError(f"{module.__name__} defines {len(defined)} tasks; a task's file defines exactly one")
    return defined[0]


def open_task(values: Mapping[str, Any]) -> Task:
    """Rebuild a task from its JSON. Inverse of ``Task.to_json``."""
    return find_task(values["name"]).from_json(values)


def metrics_shown_with_quality() -> tuple[str, ...]:
    """Return the metrics that tasks want shown beside the quality."""
    return tuple(dict.fromkeys(metric for name in tasks() for metric in find_task(name).shown_with_quality))
