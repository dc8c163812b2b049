"""From a table to rows labelled with classes or numbers; errors name the place of what is neither."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from unicodedata import category, normalize

from autoopt.objectives.data.cells import blank_notes, check_encodable, is_missing, stripped_texts
from autoopt.objectives.data.columns import choose_columns
from autoopt.objectives.data.label_cells import label_cells, with_one_hot_label
from autoopt.objectives.data.rows import RawLabel, Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.tables.table import Cell, Table
from autoopt.strategies.errors import DataError

MAX_CLASSES = 1000
NUMBER_METRICS = frozenset({"pearson", "spearman"})
"""Metrics that make labels numbers, whole ones too."""


def read_labelled(
    table: Table, settings: DataSettings, *, metric: str | None, train_rows: Sequence[Row], pairs: bool = False
) -> Reading:
    """Return the rows, with two texts each if ``pairs``, and notes on those left out for a blank text.

    A label is the name of a class; several names if cells hold lists or ``data.label_separator`` is given; a number if
    ``metric`` or the labels of ``train_rows`` say so, or if all labels are numbers and some have fractions. Raises
    ``DataError`` for a missing label, a cell that is not a text or a label, and if most texts are blank.
    """
    one_hot_notes: tuple[str, ...] = ()
    if settings.label is None:
        table, one_hot_notes = with_one_hot_label(table, train_rows=train_rows)
    columns = choose_columns(table, text=settings.text, text_pair=settings.text_pair, label=settings.label)
    if pairs and columns.text_pair is None:
        raise DataError(
            f"{table.source} has one column of texts, '{columns.text}', and this task needs two; its columns are "
            f"{', '.join(table.columns)}; name the other one, for example 'text_pair: COLUMN' under data"
        )
    texts = stripped_texts(table, columns.text)
    second_texts = stripped_texts(table, columns.text_pair) if columns.text_pair else [None] * len(texts)
    column = columns.label or ""
    read = label_cells(table, column, train_rows=train_rows)
    labels = _labels(
        read.cells, table.places, column, separator=settings.label_separator, metric=metric, train_rows=train_rows
    )
    missing = [place for label, place in zip(labels, table.places, strict=True) if label is None]
    missing_warnings = _missing_warnings(missing, table, column, is_error=not read.may_be_missing)
    rows, blank = [], []
    for text, second, label, place in zip(texts, second_texts, labels, table.places, strict=True):
        if label is None:
            continue
        if not text or (columns.text_pair and not second):
            blank.append(place)
        else:
            rows.append(Row(text, second, label, place))
    pair_name = f" and '{columns.text_pair}'" if columns.text_pair else ""
    return Reading(
        rows,
        f"texts from the column '{columns.text}'{pair_name}, labels from '{columns.label}'",
        (*one_hot_notes, *read.notes, *blank_notes(table, columns.text, blank)),
        (*read.warnings, *missing_warnings),
    )


def class_names(rows: Sequence[Row], *, source: str) -> tuple[str, ...]:
    """Return the classes in order, numbers by value; empty if the labels are numbers.

    Raises ``DataError`` for a single class, or for more than can be classes.
    """
    if rows and isinstance(rows[0].label, float):
        _check_not_constant(rows, source)
        return ()
    counts = Counter(name for row in rows for name in _names(row.label))
    is_multi_label = any(isinstance(row.label, tuple) for row in rows)
    if len(counts) < (1 if is_multi_label else 2):
        only = next(iter(counts), "none")
        raise DataError(
            f"{source} has one class only ('{only}' in all {len(rows):,} rows); "
            "at least two classes are needed: check data.label, or add examples of another class"
        )
    if len(counts) > MAX_CLASSES or (len(rows) >= 20 and len(counts) > counts.total() / 2):
        raise DataError(
            f"{source} has {len(counts):,} different labels in {len(rows):,} rows, which "
            f"does not look like classes (at most {MAX_CLASSES:,}, several rows each); choose another with data.label"
        )
    if all(_is_integer(name) for name in counts):
        return tuple(sorted(counts, key=int))
    return tuple(sorted(counts))


def _names(label: RawLabel) -> tuple[str, ...]:
    if isinstance(label, tuple):
        return tuple(name for name in label if isinstance(name, str))
    return (label,) if isinstance(label, str) else ()


def _check_not_constant(rows: Sequence[Row], source: str) -> None:
    if len({row.label for row in rows}) < 2:
        raise DataError(
            f"{source} has the same number, {rows[0].label}, in all {len(rows):,} rows; nothing can be learned "
            "from it: choose another column with data.label"
        )


def _labels(
    cells: Sequence[Cell],
    places: Sequence[str],
    column: str,
    *,
    separator: str | None,
    metric: str | None,
    train_rows: Sequence[Row],
) -> list[RawLabel]:
    if separator or any(isinstance(cell, list) for cell in cells):
        return [_several(cell, place, column, separator) for cell, place in zip(cells, places, strict=True)]
    parse: Callable[[Cell, str, str], RawLabel] = (
        _number if _are_numbers(cells, metric=metric, train_rows=train_rows) else _label
    )
    return [parse(cell, place, column) for cell, place in zip(cells, places, strict=True)]


def _missing_warnings(missing: Sequence[str], table: Table, column: str, *, is_error: bool) -> list[str]:
    """Return a warning on the rows left out for having no label. Raises ``DataError`` if they must have one."""
    if not missing:
        return []
    if is_error or len(missing) == len(table.rows):
        raise DataError(
            f"{missing[0]}: the column '{column}' has no label in {len(missing):,} of {len(table.rows):,} rows, the "
            "first of them here; fill them in, remove these rows, or give them as data.unlabeled"
        )
    count = f"{len(missing):,} of {len(table.rows):,} rows"
    return [f"left out {count} without a label in the column '{column}', the first at {missing[0]}"]


def _are_numbers(cells: Sequence[Cell], *, metric: str | None, train_rows: Sequence[Row]) -> bool:
    if metric is not None:
        return metric in NUMBER_METRICS
    if train_rows:
        return isinstance(train_rows[0].label, float)
    values = [_as_float(cell) for cell in cells if not is_missing(cell)]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return bool(finite) and len(finite) == len(values) and not all(value.is_integer() for value in finite)


def _as_float(cell: Cell) -> float | None:
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _number(cell: Cell, place: str, column: str) -> float | None:
    if is_missing(cell):
        return None
    value = _as_float(cell)
    if value is None or not math.isfinite(value):
        raise DataError(
            f"{place}: the column '{column}' holds {cell!r:.60}, no finite number; choose the column of the numbers "
            "with data.label, or correct it"
        )
    return value


def _several(cell: Cell, place: str, column: str, separator: str | None) -> tuple[str, ...] | None:
    if cell is None:
        return ()
    parts = cell.split(separator) if separator and isinstance(cell, str) else cell
    if not isinstance(parts, list):
        raise DataError(
            f"{place}: the column '{column}' holds {cell!r:.60} where other rows hold lists of classes; write a list "
            "in each row, or separated names with data.label_separator"
        )
    names = [_label(part, place, column) for part in parts]
    if isinstance(cell, list) and names and not any(names):
        return None
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _label(cell: Cell, place: str, column: str) -> str | None:
    if is_missing(cell):
        return None
    if isinstance(cell, float) and not cell.is_integer():
        raise DataError(
            f"{place}: the column '{column}' holds {cell}, a number and no class; choose the column of the classes "
            "with data.label"
        )
    if not isinstance(cell, str | int | float):
        raise DataError(f"{place}: the column '{column}' holds {cell!r:.60}, no class; choose another with data.label")
    if isinstance(cell, str):
        name = normalize("NFC", check_encodable(cell, place, column)).strip()
        if any(category(character) == "Cc" for character in name):
            raise DataError(
                f"{place}: the label {name!r:.60} in the column '{column}' holds a control character, as no class "
                "does; choose the column of the classes with data.label, or remove it"
            )
        return name
    return str(cell).lower() if isinstance(cell, bool) else str(int(cell))


def _is_integer(name: str) -> bool:
    return name.removeprefix("-").isdecimal() and name.isascii()
