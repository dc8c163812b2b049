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
    """Every strategy by its name, families in the order of a recipe and names in alphabetical order within one.

    Raises ``TypeError`` for a file that does not define exactly one strategy, and ``ValueError`` for a name that two
    families use.
    """
    found: dict[str, type[Strategy]] = {}
    for family in Family:
        package = importlib.import_module(f"{strategies.__name__}.{family}")
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda item: item.name):
            strategy = _only_strategy(f"{package.__name__}.{module.name}")
            if module.name in found:
                raise ValueError(f"two files are named {module.name}.py: a strategy's name is unique over all families")
            found[module.name] = strategy
    return MappingProxyType(found)


def find(name: str) -> type[Strategy]:
    """Return the strategy of this name; raises ``UnknownStrategy`` with the nearest name."""
    known = catalog()
    if name not in known:
        raise UnknownStrategy(
            f"'{name}' is no strategy{did_you_mean(name, known) or '.'} 'autoopt strategies' lists all {len(known)}."
        )
    return known[name]


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
