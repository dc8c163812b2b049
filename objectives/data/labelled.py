"""From a table to rows labelled with classes or numbers; errors name the place of what is neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from unicodedata import category, normalize

from autoopt.objectives.annotations.spans import check_no_spans
from autoopt.objectives.data.cells import blank_notes, cell_text, check_encodable
from autoopt.objectives.data.columns import choose_columns
from autoopt.objectives.data.label_cells import label_cells, with_one_hot_label
from autoopt.objectives.data.rows import LeftOut, RawLabel, Reading, Row, names_of
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.tables.numbers import are_fractions, number_reader
from autoopt.objectives.tables.table import Cell, Table, is_missing
from autoopt.strategies.errors import DataError

NUMBER_METRICS = frozenset({"pearson", "spearman"})
"""Metrics that make labels numbers, whole ones too."""


def read_labelled(
    table: Table, settings: DataSettings, *, metric: str | None, train_rows: Sequence[Row], pairs: bool = False
) -> Reading:
    """Return the rows, with two texts each if ``pairs``, and notes on those left out for a blank text.

    A label is the name of a class; several names if cells hold lists or ``data.label_separator`` is given; a number if
    ``metric`` or the labels of ``train_rows`` say so, or if all labels are numbers and some have fractions. Raises
    ``DataError`` if a column cannot be found, if most texts are blank, and if no row has a label. A row with a missing
    label, or with a cell that is not a text or a label, is bad.
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
    column = columns.label or ""
    check_no_spans(table, column)
    read = label_cells(table, column, train_rows=train_rows)
    parse = _label_reader(read.cells, table.source, column, settings, metric=metric, train_rows=train_rows)
    positions = [(table.columns.index(name), name) for name in (columns.text, columns.text_pair) if name]
    rows: list[Row] = []
    blank: list[str] = []
    unlabelled: list[str] = []
    bad: list[str] = []
    for cells, label_cell, place in zip(table.rows, read.cells, table.places, strict=True):
        try:
            texts = [cell_text(cells[position], place, name).strip() for position, name in positions]
            label = parse(label_cell, place)
        except DataError as error:
            bad.append(str(error))
            continue
        if label is None and read.may_be_missing:
            unlabelled.append(place)
        elif not all(texts):
            blank.append(place)
        elif label is None:
            bad.append(
                f"{place}: the column '{column}' has no label; fill it in, remove the row, or give it as data.unlabeled"
            )
        else:
            rows.append(Row(texts[0], texts[1] if columns.text_pair else None, label, place))
    pair_name = f" and '{columns.text_pair}'" if columns.text_pair else ""
    return Reading(
        rows,
        f"texts from the column '{columns.text}'{pair_name}, labels from '{columns.label}'",
        (*one_hot_notes, *read.notes, *blank_notes(table, columns.text, blank)),
        (*read.warnings, *_unlabelled_warnings(table, column, unlabelled)),
        tuple(bad),
        (LeftOut("blank text", len(blank), blank[:1]), LeftOut("no label", len(unlabelled), unlabelled[:1])),
    )


def _unlabelled_warnings(table: Table, column: str, places: Sequence[str]) -> list[str]:
    if not places:
        return []
    if len(places) == len(table.rows):
        raise DataError(
            f"{places[0]}: the column '{column}' has no label in {len(places):,} of {len(table.rows):,} rows, the "
            "first of them here; fill them in, remove these rows, or give them as data.unlabeled"
        )
    count = f"{len(places):,} of {len(table.rows):,} rows"
    return [f"left out {count} without a label in the column '{column}', the first at {places[0]}"]


def class_names(rows: Sequence[Row], *, source: str) -> tuple[str, ...]:
    """Return the classes in order, numbers by value; empty if the labels are numbers.

    Raises ``DataError`` for a single class, or for more than can be classes.
    """
    if rows and isinstance(rows[0].label, float):
        _check_not_constant(rows, source)
        return ()
    counts = Counter(name for row in rows for name in names_of(row.label))
    is_multi_label = any(isinstance(row.label, tuple) for row in rows)
    if len(counts) < (1 if is_multi_label else 2):
        only = next(iter(counts), "none")
        raise DataError(
            f"{source} has one class only ('{only}' in all {len(rows):,} rows); "
            "at least two classes are needed: check data.label, or add examples of another class"
        )
    if len(rows) >= 20 and len(counts) > counts.total() / 2:
        raise DataError(
            f"{source} has {len(counts):,} different labels in {len(rows):,} rows, which does not look like classes "
            "(several rows each); choose another with data.label"
        )
    if all(_is_integer(name) for name in counts):
        return tuple(sorted(counts, key=int))
    return tuple(sorted(counts))


def _check_not_constant(rows: Sequence[Row], source: str) -> None:
    if len({row.label for row in rows}) < 2:
        raise DataError(
            f"{source} has the same number, {rows[0].label}, in all {len(rows):,} rows; nothing can be learned "
            "from it: choose another column with data.label"
        )


def _label_reader(
    cells: Sequence[Cell],
    source: str,
    column: str,
    settings: DataSettings,
    *,
    metric: str | None,
    train_rows: Sequence[Row],
) -> Callable[[Cell, str], RawLabel]:
    """Return a function that parses a cell of the column of labels at a place, to None without a label.

    It raises ``DataError`` for a cell that holds no label.
    """
    separator = settings.label_separator
    if separator or any(isinstance(cell, list) for cell in cells):
        return lambda cell, place: _several(cell, place, column, separator)
    to_number = _number_reader(source, column, cells, metric=metric, train_rows=train_rows)
    if to_number is None:
        return _class_reader(column)
    return lambda cell, place: _number(cell, place, column, to_number)


def _class_reader(column: str) -> Callable[[Cell, str], str | None]:
    """Return a function that parses the name of a class, each different text once."""
    known: dict[str, str] = {}

    def parse(cell: Cell, place: str) -> str | None:
        name = known.get(cell) if isinstance(cell, str) else None
        if name is None:
            name = _label(cell, place, column)
            if isinstance(cell, str) and name is not None:
                known[cell] = name
        return name

    return parse


def _number_reader(
    source: str, column: str, cells: Sequence[Cell], *, metric: str | None, train_rows: Sequence[Row]
) -> Callable[[Cell], float | None] | None:
    """Return a function that parses a number; None if the labels are classes."""
    if metric is not None and metric not in NUMBER_METRICS:
        return None
    if metric is None and train_rows and not isinstance(train_rows[0].label, float):
        return None
    parse = number_reader(cells, source=source, column=column)
    return parse if metric is not None or train_rows or are_fractions(cells, parse) else None


def _number(cell: Cell, place: str, column: str, parse: Callable[[Cell], float | None]) -> float | None:
    if is_missing(cell):
        return None
    value = parse(cell)
    if value is None:
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
