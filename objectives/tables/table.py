"""Rows as read from a file, each with its place, before their meaning is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Cell: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None

MAX_CHARACTERS = 1_000_000
"""Maximum length of a line, a field or a text. Anything longer is an unclosed quote, or not text."""
MAX_FILE_BYTES = 4_000_000_000
"""Maximum size of a file, decompressed."""
TEXT_COLUMN, LABEL_COLUMN = "text", "label"
"""Column names of sources that have none: class folders and plain lines."""


@dataclass(frozen=True)
class Table:
    """``rows[i][j]`` is the cell of row i in column j; ``places[i]`` is where the row stands: ``train.csv:7``."""

    source: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    places: Sequence[str]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """Doubtful findings for the user, such as rows that were left out."""
    class_columns: frozenset[str] = frozenset()
    """Columns of class names by the file's own schema; a row without one has no label and is left out."""
    bad_rows: tuple[str, ...] = ()
    """For each row that cannot be read a message that begins with its place; ``data.tolerate`` says how many may be."""


def is_missing(cell: Cell) -> bool:
    """Return whether the cell has no value: None, blanks or ``nan``."""
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in {"", "nan"})
