"""Parse and format quantities such as ``12ms`` and ``60 MB``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from autoopt.strategies.errors import UsageError, did_you_mean

_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*([^\s\d.+-][^\s\d]*)?\s*")


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity, with its accepted units and their value in the base unit."""

    noun: str
    units: Mapping[str, float]
    base: str
    example: str
    needs_unit: bool = True


LATENCY = Dimension(
    noun="latency",
    units=MappingProxyType({"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}),
    base="ms",
    example="12ms",
)
SIZE = Dimension(
    noun="size",
    units=MappingProxyType(
        {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
    ),
    base="B",
    example="60MB",
)
DURATION = Dimension(
    noun="duration",
    units=MappingProxyType({"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}),
    base="s",
    example="90s, 10m or 2h",
)
RATE = Dimension(
    noun="throughput",
    units=MappingProxyType({"examples/s": 1.0, "/s": 1.0}),
    base="examples/s",
    example="200/s",
)
TOKEN_RATE = Dimension(
    noun="rate of tokens",
    units=MappingProxyType({"tokens/s": 1.0, "/s": 1.0}),
    base="tokens/s",
    example="50 tokens/s",
)
ENERGY = Dimension(
    noun="quantity of energy",
    units=MappingProxyType({"uJ": 1e-6, "µJ": 1e-6, "mJ": 1e-3, "J": 1.0, "kJ": 1e3}),
    base="J",
    example="50mJ",
)
COUNT = Dimension(
    noun="number",
    units=MappingProxyType({"k": 1e3, "M": 1e6, "B": 1e9}),
    base="numbers",
    example="20M or 20000000",
    needs_unit=False,
)
SHARE = Dimension(noun="share", units=MappingProxyType({"%": 1e-2}), base="", example="0.01 or 1%", needs_unit=False)

_SHOWN_UNITS = {
    "ms": ("ms",),
    "B": ("GB", "MB", "kB", "B"),
    "s": ("h", "m", "s"),
    "examples/s": ("examples/s",),
    "tokens/s": ("tokens/s",),
    "J": ("kJ", "J", "mJ", "uJ"),
    "numbers": ("B", "M", "k"),
    "": ("%",),
}


def parse_quantity(text: str | float, dimension: Dimension) -> float:
    """Return the quantity in the base unit of its dimension; finite and not negative.

    A plain number is accepted only if the dimension needs no unit. Raises ``UsageError`` with an example otherwise.
    """
    match = _QUANTITY.fullmatch(str(text))
    if isinstance(text, bool) or match is None:
        raise UsageError(f"'{text}' is not a {dimension.noun}; write one as {dimension.example}")
    number, unit = Decimal(match[1]), match[2] or ""
    if not unit and dimension.needs_unit:
        raise UsageError(f"'{text}' is a {dimension.noun} without a unit; write one as {dimension.example}")
    if unit and unit not in dimension.units:
        near = did_you_mean(unit, dimension.units) or _suggest_other_case(unit, dimension)
        allowed = ", ".join(dimension.units)
        raise UsageError(f"'{unit}' in '{text}' is not a unit of a {dimension.noun}{near}; units are {allowed}")
    # Decimals, because 70 * 0.01 is not 0.7 in floats.
    value = float(number * Decimal(repr(dimension.units.get(unit, 1.0))))
    if number < 0 or not math.isfinite(value):
        raise UsageError(f"'{text}' is not a valid {dimension.noun}: it must be finite and not negative")
    return value


def format_quantity(value: float, dimension: Dimension) -> str:
    """Return the quantity with four significant digits, in the largest unit in which it is at least 1."""
    shown_units = _SHOWN_UNITS[dimension.base]
    unit = next((unit for unit in shown_units if abs(value) >= dimension.units[unit]), shown_units[-1])
    number = f"{value / dimension.units[unit]:.4g}"
    if "e" in number:
        number = f"{value / dimension.units[unit]:.0f}" if abs(value) >= 1 else number
    return f"{number}%" if unit == "%" else f"{number} {unit}"


def _suggest_other_case(unit: str, dimension: Dimension) -> str:
    matches = [known for known in dimension.units if known.lower() == unit.lower()]
    return f"; did you mean '{matches[-1]}'?" if matches else ""
