"""Cells of a column of classes in the forms that other programs write, and which of them hold no class at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from autoopt.objectives.data.columns import LABEL_NAMES, usual_column
from autoopt.objectives.data.rows import Row
from autoopt.objectives.tables.list_text import with_parsed_lists
from autoopt.objectives.tables.table import LABEL_COLUMN, Cell, Table, is_missing

NO_LABEL = "-"
"""Label of a row on which the annotators did not agree, in SNLI and MultiNLI."""
HIDDEN = "-1"
"""Label of a row that has none, in data whose classes are 0, 1, 2."""
MAX_HIDDEN_SHARE = 0.05
"""Maximum share of rows with the label -1; above it -1 is taken for a class."""


@dataclass(frozen=True)
class LabelCells:
    """The cells of a column of classes: names, lists of names, or None without a class."""

    cells: Sequence[Cell]
    may_be_missing: bool = False
    """Whether a cell without a class is expected, so that its row is left out."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def label_cells(table: Table, column: str, *, train_rows: Sequence[Row]) -> LabelCells:
    """Return the cells of a column of classes with placeholders for no class as None.

    Lists of one class each are classes, unless the training data have several.
    """
    read = with_parsed_lists(table, [column])
    position = table.columns.index(column)
    cells: Sequence[Cell] = [row[position] for row in read.rows]
    result = LabelCells(cells, column in table.class_columns, read.notes[len(table.notes) :])
    if any(isinstance(cell, list) for cell in cells):
        return _from_lists(result, column, train_rows)
    return _without_placeholders(result, column, train_rows)


def with_one_hot_label(table: Table, *, train_rows: Sequence[Row]) -> tuple[Table, tuple[str, ...]]:
    """Return the table with a column of classes made from columns of 0 and 1 that are named for them, and notes.

    A row has the one class with a 1 if every row has one or none, else a list of classes. The table is returned as it
    is if it has a usual column of labels, or fewer than two such columns.
    """
    if usual_column(table, LABEL_NAMES):
        return table, ()
    names = {position: name for position, name in enumerate(table.columns) if _is_binary(table, position)}
    if len(names) < 2:
        return table, ()
    classes = [[name for position, name in names.items() if _is_one(row[position])] for row in table.rows]
    is_single = isinstance(train_rows[0].label, str) if train_rows else max(map(len, classes)) < 2
    labels: list[Cell] = [(of_row[0] if of_row else None) if is_single else of_row for of_row in classes]
    labelled = replace(
        table,
        columns=(*table.columns, LABEL_COLUMN),
        rows=[[*row, label] for row, label in zip(table.rows, labels, strict=True)],
        class_columns=table.class_columns | {LABEL_COLUMN},
    )
    return labelled, (f"the columns {', '.join(names.values())} hold 0 and 1, and were read as classes",)


def _from_lists(read: LabelCells, column: str, train_rows: Sequence[Row]) -> LabelCells:
    """Return the class in each list if no list has two."""
    if train_rows:
        is_single = isinstance(train_rows[0].label, str)
    else:
        lists = [cell for cell in read.cells if isinstance(cell, list)]
        has_choice = len({str(cell[0]) for cell in lists if cell}) > 1
        is_single = has_choice and all(len(cell) < 2 for cell in lists)
    if not is_single:
        return read
    cells = [_only(cell) for cell in read.cells]
    note = f"the lists in the column '{column}' hold one class each, and were read as single classes"
    return replace(read, cells=cells, may_be_missing=True, notes=(*read.notes, note))


def _without_placeholders(read: LabelCells, column: str, train_rows: Sequence[Row]) -> LabelCells:
    cells: Sequence[Any] = read.cells
    if any(isinstance(cell, dict) for cell in cells):
        return read
    counts = Counter[str]()
    for cell, count in Counter(cells).items():
        if not is_missing(cell):
            counts[_name(cell)] += count
    classes = set(counts)
    placeholder = next((name for name in (NO_LABEL, HIDDEN) if name in classes), None)
    if placeholder is None or any(row.label == placeholder for row in train_rows):
        return read
    count, others = counts[placeholder], classes - {placeholder}
    if not train_rows:
        if placeholder == NO_LABEL and not (len(others) > 1 and all(_has_letter(name) for name in others)):
            return read
        if placeholder == HIDDEN and others != {str(number) for number in range(max(2, len(others)))}:
            return read
        if placeholder == HIDDEN and count > MAX_HIDDEN_SHARE * len(cells):
            return replace(read, warnings=(*read.warnings, _doubt(column, count, len(cells))))
    labels = [None if _name(cell) == placeholder else cell for cell in cells]
    return replace(read, cells=labels, may_be_missing=True)


def _doubt(column: str, count: int, total: int) -> str:
    return (
        f"-1 is read as a class in {count:,} of {total:,} rows of the column '{column}'; if it marks rows without a "
        "label, remove these rows"
    )


def _name(cell: Cell) -> str:
    return str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()


def _only(cell: Cell) -> Cell:
    """Return the element of a list of one, None for an empty list, and any other cell as it is."""
    if isinstance(cell, list) and len(cell) < 2:
        return cell[0] if cell else None
    return cell


def _has_letter(name: str) -> bool:
    return any(character.isalpha() for character in name)


def _is_binary(table: Table, position: int) -> bool:
    return {str(row[position]).strip().lower() for row in table.rows} <= {"0", "1", "0.0", "1.0", "false", "true"}


def _is_one(cell: Cell) -> bool:
    return str(cell).strip().lower() in {"1", "1.0", "true"}
