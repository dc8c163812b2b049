"""A measured number with its name, unit, direction, confidence interval and sample count."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from sys import intern
from typing import Any, Final

QUALITY: Final = "quality"
"""Name of the task's metric, which the search maximizes."""


class Direction(StrEnum):
    """Direction in which a number is better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measured number; ``low`` and ``high`` are the ends of its 95 % confidence interval."""

    name: str
    value: float
    unit: str
    direction: Direction
    low: float
    high: float
    samples: int
    noisy: bool = False
    """Whether the machine was disturbed in every attempt, so that the number is not reliable."""
    by_processor: bool = False
    """Whether it is processor time, as other processes disturbed the time on the clock."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Measurement:
        names = {key: intern(fields[key]) for key in ("name", "unit")}  # Thousands of records share them.
        return cls(**{**fields, **names, "direction": Direction(fields["direction"])})

    @classmethod
    def exact(cls, name: str, value: float, unit: str, direction: Direction) -> Measurement:
        """Return a measurement without spread, such as a size."""
        return cls(name=name, value=value, unit=unit, direction=direction, low=value, high=value, samples=1)
