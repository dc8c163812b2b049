"""Lists that were written into a cell as text, such as ``['a', 'b']``, as pandas does in a csv file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autoopt.objectives.tables.table import Cell, Table

_ITEM = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([-\w.+]+))\s*,?""")
_ESCAPED = re.compile(r"\\(['\"\\])")
_NAMES = {"None": None, "nan": None, "null": None}


def with_parsed_lists(table: Table, columns: Sequence[str]) -> Table:
    """Return the table with lists in those of the columns whose cells are all lists written as text, or missing."""
    notes = []
    rows: Sequence[Sequence[Cell]] = table.rows
    for column in columns:
        position = table.columns.index(column)
        parsed = parsed_lists([row[position] for row in rows])
        if parsed is not None:
            rows = [[*row[:position], value, *row[position + 1 :]] for row, value in zip(rows, parsed, strict=True)]
            notes.append(f"the lists in the column '{column}' are written as text, and were read as lists")
    return replace(table, rows=rows, notes=(*table.notes, *notes)) if notes else table


def parsed_lists(cells: Sequence[Cell]) -> list[Cell] | None:
    """Return the cells as lists, blank ones as None; None unless all others are texts that hold a list."""
    parsed: list[Cell] = []
    for cell in cells:
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            parsed.append(None)
            continue
        value = parse_list(cell) if isinstance(cell, str) else None
        if value is None:
            return None
        parsed.append(value)
    return parsed if any(value is not None for value in parsed) else None


def parse_list(text: str) -> list[Any] | None:
    """Return the texts and numbers in a list as Python, JSON or NumPy write it; None if the text is none."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    items: list[Any] = []
    position, end = 1, len(text) - 1
    while text[position:end].strip():
        match = _ITEM.match(text, position, end)
        if match is None or (match[3] and not _is_bare_value(match[3])):
            return None
        items.append(_bare_value(match[3]) if match[3] else _ESCAPED.sub(r"\1", match[1] or match[2] or ""))
        position = match.end()
    return items


def _is_bare_value(text: str) -> bool:
    return text in _NAMES or re.fullmatch(r"[-+]?\d+(\.\d*)?", text) is not None


def _bare_value(text: str) -> Any:
    if text in _NAMES:
        return None
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
