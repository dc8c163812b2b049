"""The space of recipes as text: base models, strategies by family, and the knobs that are searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from autoopt.search.report.sanitize import plain_text
from autoopt.search.report.tables import new_table
from autoopt.search.space.space import Space
from autoopt.search.space.strategy_choice import SWITCHED_OFF, legal_values
from autoopt.strategies.strategy import Family

if TYPE_CHECKING:
    from rich.table import Table


def describe_size(space: Space) -> str:
    """Return how many recipes the space has."""
    size = space.size()
    return f"up to {size:,.0f} recipes" if isfinite(size) else "infinitely many recipes"


def base_models_table(models: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of the base models: ``label``, ``name``, ``layers``, ``latency_ms`` and ``latency_ratio``."""
    table = new_table("model", "name", "layers", "latency", "of the baseline's")
    for model in models:
        latency = f"{model['latency_ms']:.2f} ms", f"{model['latency_ratio']:.0%}"
        table.add_row(*map(plain_text, (model["label"], model["name"], model["layers"] or "", *latency)))
    return table


def families_table(space: Space) -> Table:
    """Return the strategies of each family."""
    table = new_table("family", "strategies")
    for family in Family:
        if names := [offer.strategy.name for offer in space.of_family(family)]:
            table.add_row(family.value, ", ".join(names))
    return table


def withheld_lines(space: Space) -> list[str]:
    """Return a line for each strategy that is not offered, and one for all that are switched off."""
    lines = [f"without {name}: {reason}" for name, reason in space.withheld.items() if reason != SWITCHED_OFF]
    lines += [
        f"without {name} on {model.label}: {why}" for model in space.models for name, why in model.withheld.items()
    ]
    off = [name for name, reason in space.withheld.items() if reason == SWITCHED_OFF]
    return [*lines, f"{SWITCHED_OFF}: {', '.join(off)}"] if off else lines


def knobs_table(space: Space) -> Table:
    """Return the searched knobs of each strategy with their legal values."""
    table = new_table("family", "strategy", "searched")
    for offer in space.offers:
        searched = "; ".join(f"{name}: {legal_values(knob)}" for name, knob in offer.searched.items()) or "nothing"
        table.add_row(*map(plain_text, (offer.strategy.family.value, offer.strategy.name, searched)))
    return table
