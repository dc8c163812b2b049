"""Rows as they were read, each with the place where it stands, before anything is known of their meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Cell: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None

MAX_CHARACTERS = 1_000_000
"""The longest line, field or text that is read. A longer one is a quote that nobody closed, or no text."""
MAX_FILE_BYTES = 4_000_000_000
"""What a file may have, unpacked."""
TEXT_COLUMN, LABEL_COLUMN = "text", "label"
"""The columns of what has no names for them: a folder of class folders, plain lines."""


@dataclass(frozen=True)
class Table:
    """``rows[i][j]`` is the cell of row i in column j; ``places[i]`` says where the row stands: ``train.csv:7``."""

    source: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    places: Sequence[str]
    notes: tuple[str, ...] = ()
