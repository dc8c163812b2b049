"""Numbers in the cells of a column, with a decimal point or, as many countries write them, a decimal comma."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from autoopt.objectives.tables.table import Cell, is_missing
from autoopt.strategies.errors import DataError

_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d*),\d+(?:[eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
"""Also a whole number with commas between thousands."""


def number_reader(cells: Sequence[Cell], *, source: str, column: str) -> Callable[[Cell], float | None]:
    """Return a function that parses a cell of the column, to None if it holds no finite number.

    A comma is a decimal comma if all commas of the column can be and no number has a decimal point. Raises
    ``DataError`` if it might as well separate thousands in all of them.
    """
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and "," in cell]
    with_comma = [text for text in texts if _DECIMAL_COMMA.fullmatch(text) or _GROUPED.fullmatch(text)]
    has_point = any(_has_point(cell) for cell in cells)
    if not with_comma or has_point or not all(map(_DECIMAL_COMMA.fullmatch, with_comma)):
        return _plain_number
    if all(map(_GROUPED.fullmatch, with_comma)):
        raise DataError(
            f"{source}: the column '{column}' holds '{with_comma[0]}', which may be a decimal comma or a comma between "
            "thousands; write it with a decimal point, or without commas"
        )
    return lambda cell: _plain_number(_with_point(cell))


def are_fractions(cells: Sequence[Cell], parse: Callable[[Cell], float | None]) -> bool:
    """Return whether all cells that have a value are numbers, and some of them have fractions."""
    values = [parse(cell) for cell in cells if not is_missing(cell)]
    finite = [value for value in values if value is not None]
    return bool(finite) and len(finite) == len(values) and not all(value.is_integer() for value in finite)


def _plain_number(cell: Cell) -> float | None:
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        return None
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _has_point(cell: Cell) -> bool:
    if isinstance(cell, float):
        return not math.isnan(cell) and not cell.is_integer()
    return isinstance(cell, str) and "." in cell and "," not in cell and _plain_number(cell) is not None


def _with_point(cell: Cell) -> Cell:
    return cell.replace(".", "").replace(",", ".") if isinstance(cell, str) and "," in cell else cell
