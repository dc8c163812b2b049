"""Entities as annotation tools write them: a start, an end and a type, counted in characters of a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoopt.objectives.tables.table import Table
from autoopt.strategies.errors import DataError

STARTS, ENDS = ("start", "start_offset", "startOffset", "begin"), ("end", "end_offset", "endOffset")
TYPES = ("label", "labels", "tag", "type", "entity_group", "entity")


@dataclass(frozen=True)
class TextSpan:
    """The characters from ``start`` up to but excluding ``end`` of a text, an entity of a type."""

    start: int
    end: int
    type: str


def is_span(item: Any) -> bool:
    """Return whether a value is ``[start, end, type]`` or an object with a start and an end."""
    if isinstance(item, Mapping):
        return any(name in item for name in STARTS) and any(name in item for name in ENDS)
    is_triple = isinstance(item, list) and len(item) == 3
    return is_triple and type(item[0]) is int and type(item[1]) is int and isinstance(item[2], str)


def parse_span(item: Any, text: str) -> TextSpan:
    """Return a span of a text; its offsets are -1 if they are no numbers, its type empty if it has none."""
    if not isinstance(item, Mapping):
        return TextSpan(item[0], item[1], item[2].strip())
    start, end = (next((item[name] for name in names if name in item), None) for names in (STARTS, ENDS))
    kind: Any = next((item[name] for name in TYPES if item.get(name)), "")
    kind = kind[0] if isinstance(kind, list) else kind
    if not isinstance(start, int) or not isinstance(end, int):
        start, end = -1, -1
    covered = item.get("text")
    if isinstance(covered, str) and text[max(0, start) : max(0, end)] != covered:
        start, end = _from_utf16(text, start, end, covered)
    return TextSpan(start, end, str(kind).strip())


def check_no_spans(table: Table, column: str) -> None:
    """Raise ``DataError`` if a column of labels holds spans where classes are needed."""
    position = table.columns.index(column)
    for row, place in zip(table.rows, table.places, strict=True):
        cell = row[position]
        if isinstance(cell, list) and cell:
            if not all(map(is_span, cell)):
                return
            raise DataError(
                f"{place}: the column '{column}' holds spans, such as {cell[0]!r:.60}; write 'task: "
                "token_classification' to find entities, or choose the column of the classes with data.label"
            )


def _from_utf16(text: str, start: int, end: int, covered: str) -> tuple[int, int]:
    """Return offsets in characters if the given ones count UTF-16 units, as a browser does; else as they are."""
    units = text.encode("utf-16-le", "surrogatepass")
    if 0 <= start <= end and units[2 * start : 2 * end] == covered.encode("utf-16-le", "surrogatepass"):
        start = len(units[: 2 * start].decode("utf-16-le", "surrogatepass"))
        return start, start + len(covered)
    return start, end
