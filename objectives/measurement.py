"""A number that can be believed: with its name, unit, direction, interval and sample count."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

QUALITY: Final = "quality"
"""Name of the score that the search maximizes: the task's metric."""


class Direction(StrEnum):
    """Which way is better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measured number. ``low`` and ``high`` are the ends of its 95 % confidence interval."""

    name: str
    value: float
    unit: str
    direction: Direction
    low: float
    high: float
    samples: int
    noisy: bool = False
    """True where the machine was disturbed each time it was tried, so that the number is not to be trusted."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Measurement:
        return cls(**{**fields, "direction": Direction(fields["direction"])})

    @classmethod
    def exact(cls, name: str, value: float, unit: str, direction: Direction) -> Measurement:
        """A number without spread, such as a size."""
        return cls(name=name, value=value, unit=unit, direction=direction, low=value, high=value, samples=1)
