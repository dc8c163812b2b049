"""Records of an annotation tool as plain rows: its texts, classes as lists in ``label``, and entities in ``spans``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Record: TypeAlias = Mapping[str, Any]

TEXT, LABEL, SPANS = "text", "label", "spans"
MIN_PROBABILITY = 0.5
"""Minimum value of a class in ``cats`` to be one of a text."""


@dataclass(frozen=True)
class Converted:
    """Plain records, each with its place, and what the user should know about those left out."""

    records: Sequence[Record]
    places: Sequence[str]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def classes_of_cats(cats: Mapping[str, Any]) -> list[str]:
    """Return the classes of a text from ``{"POSITIVE": 1.0, "NEGATIVE": 0.0}``."""
    return [name for name, value in cats.items() if isinstance(value, int | float) and value >= MIN_PROBABILITY]


def is_cats(value: Any) -> bool:
    """Return whether a value is an object of numbers, as spaCy writes the classes of a text."""
    return isinstance(value, dict) and bool(value) and all(isinstance(item, int | float) for item in value.values())
