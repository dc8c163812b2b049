"""The tasks, one folder each: this folder is their registry."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from autoopt.objectives.task import Task
from autoopt.strategies.errors import UsageError, did_you_mean


def tasks() -> tuple[str, ...]:
    """The names of all tasks, without importing one."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def find_task(name: str) -> type[Task]:
    """Return the task of this name; raises ``UsageError`` with the nearest name."""
    known = tasks()
    if name not in known:
        raise UsageError(f"'{name}' is no task{did_you_mean(name, known)}; tasks are {', '.join(known)}")
    module = importlib.import_module(f"{__name__}.{name}.task")
    defined = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
    ]
    if len(defined) != 1:
        raise TypeError(f"{module.__name__} defines {len(defined)} tasks; a task's file defines exactly one")
    return defined[0]


def open_task(fields: Mapping[str, Any]) -> Task:
    """Rebuild a task from its JSON, which is what ``to_json`` gave."""
    return find_task(fields["name"]).from_json(fields)
