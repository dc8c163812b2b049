"""The costs of serving, one file each: this folder is their registry."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Set
from functools import cache
from types import MappingProxyType

from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.target import Calls
from autoopt.objectives.timing.pairing import SCREENING, VERIFYING, Pairs


@cache
def costs() -> Mapping[str, Cost]:
    """Return every cost by its name, in alphabetical order.

    Raises ``TypeError`` if a file does not define exactly one.
    """
    return MappingProxyType(
        {name: _only_cost(name) for name in sorted(module.name for module in pkgutil.iter_modules(__path__))}
    )


def names_of(role: Role) -> tuple[str, ...]:
    """Return the costs of a role, its default first."""
    of_role = [cost for cost in costs().values() if cost.role is role]
    return tuple(cost.name for cost in sorted(of_role, key=lambda cost: not cost.default_of_role))


def measure_costs(serving: Serving, requested: Set[str], *, only_exact: bool = False) -> dict[str, Measurement]:
    """Measure the costs that are ``requested`` or come with them; ``only_exact`` leaves out what is timed."""
    to_measure = [cost for cost in _selected(requested) if cost.exact or not only_exact]
    return {measured.name: measured for cost in to_measure for measured in cost.measure(serving)}


def pairs_for(requested: Set[str], calls: Calls = Calls.BATCH) -> Pairs:
    """Return the number of paired calls of a kind that verification needs for the requested costs."""
    of_kind = [cost.pairs for cost in costs().values() if cost.calls is calls and cost.name in requested]
    return max([SCREENING if calls.writes else VERIFYING, *of_kind], key=lambda pairs: (pairs.minimum, pairs.seconds))


def _selected(requested: Set[str]) -> list[Cost]:
    times_texts = any(cost.timed and not cost.calls.writes for cost in costs().values() if cost.name in requested)
    return [
        cost for cost in costs().values() if cost.name in requested or (cost.always and (times_texts or not cost.timed))
    ]


def _only_cost(name: str) -> Cost:
    module = importlib.import_module(f"{__name__}.{name}")
    defined = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Cost) and value.__module__ == module.__name__
    ]
    if len(defined) != 1:
        raise TypeError(f"{module.__name__} defines {len(defined)} costs; a file here defines exactly one")
    return defined[0]()
