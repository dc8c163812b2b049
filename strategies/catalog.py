"""The catalog: the folders of this package are the registry of strategies."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from autoopt import strategies
from autoopt.strategies.errors import UnknownStrategy, did_you_mean
from autoopt.strategies.strategy import Family, Strategy


@cache
def catalog() -> Mapping[str, type[Strategy]]:
    """Return every strategy by its name, families in the order of a recipe and names in alphabetical order within one.

    Raises ``TypeError`` if a file does not define exactly one strategy, and ``ValueError`` if two families use one
    name.
    """
    by_name: dict[str, type[Strategy]] = {}
    for family in Family:
        package = importlib.import_module(f"{strategies.__name__}.{family}")
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda item: item.name):
            strategy = _only_strategy(f"{package.__name__}.{module.name}")
            if module.name in by_name:
                raise ValueError(f"two files are named {module.name}.py: a strategy's name is unique over all families")
            by_name[module.name] = strategy
    return MappingProxyType(by_name)


def find(name: str) -> type[Strategy]:
    """Return the strategy of this name; raises ``UnknownStrategy`` with the nearest name."""
    by_name = catalog()
    if name not in by_name:
        raise UnknownStrategy(
            f"'{name}' is no strategy{did_you_mean(name, by_name) or '.'} "
            f"'autoopt strategies' lists all {len(by_name)}."
        )
    return by_name[name]


def _only_strategy(module_name: str) -> type[Strategy]:
    module = importlib.import_module(module_name)
    defined = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module_name
    ]
    if len(defined) != 1:
        raise TypeError(f"{module_name} defines {len(defined)} strategies; a strategy's file defines exactly one")
    return defined[0]
