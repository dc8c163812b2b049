"""Texts without labels, from any table that a task can read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from autoopt.objectives.data.cells import non_blank_texts
from autoopt.objectives.data.columns import (
    ANSWERS_NAMES,
    CONTEXT_NAMES,
    WORD_NAMES,
    Columns,
    choose_columns,
    usual_column,
)
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.sources import read_source
from autoopt.objectives.data.splits import example_count, shuffle_key
from autoopt.objectives.tables.bad_rows import check_bad_rows
from autoopt.objectives.tables.table import Cell, Table
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError


def read_unlabeled(address: str, settings: DataSettings) -> tuple[list[str], list[str]]:
    """Return the texts at an address, each once, and notes on them. Raises ``DataError``.

    Lists of words are joined by blanks. Of questions with contexts the contexts are read.
    """
    table = read_source(address, part="train", whole=False)["train"]
    total = len(table.rows) + len(table.bad_rows)
    check_bad_rows(table.bad_rows, total, tolerate=settings.tolerate, source=table.source)
    columns = _columns(table, settings)
    texts, notes = non_blank_texts(_with_joined_words(table, columns), columns)
    return list(dict.fromkeys(texts)), [*table.notes, *table.warnings, *notes, *table.bad_rows[:1]]


def sample_texts(texts: Iterable[str], size: int | float | None, *, seed: int) -> tuple[str, ...]:
    """Return a sample of the distinct texts, drawn by their content and the seed alone; all if ``size`` is None.

    Raises ``DataError`` if there are fewer than ``size``.
    """
    unique = tuple(dict.fromkeys(texts))
    if size is None:
        return unique
    count = example_count(size, len(unique))
    if count > len(unique):
        raise DataError(
            f"there are {len(unique):,} unlabeled texts that are not held out, and data.split.unlabeled asks for "
            f"{count:,}; lower it, or give more with data.unlabeled"
        )
    return tuple(sorted(unique, key=lambda text: shuffle_key(Example(text), seed))[:count])


def _columns(table: Table, settings: DataSettings) -> Columns:
    # The columns in the settings are those of the labelled data; unlabeled texts often lack some of them.
    text, pair = (name if name in table.columns else None for name in (settings.text, settings.text_pair))
    context = pair or usual_column(table, CONTEXT_NAMES)
    if context and usual_column(table, ANSWERS_NAMES):
        return Columns(context, None, None)
    words = usual_column(table, WORD_NAMES)
    if text is None and words and _holds_lists(table, words):
        return Columns(words, None, None)
    return choose_columns(table, text=text, text_pair=pair, label=None, labelled=False)


def _holds_lists(table: Table, column: str) -> bool:
    position = table.columns.index(column)
    return isinstance(next((row[position] for row in table.rows if row[position] is not None), None), list)


def _with_joined_words(table: Table, columns: Columns) -> Table:
    if not _holds_lists(table, columns.text):
        return table
    position = table.columns.index(columns.text)
    rows = [[*row[:position], _joined(row[position]), *row[position + 1 :]] for row in table.rows]
    return replace(table, rows=rows)


def _joined(cell: Cell) -> Cell:
    if isinstance(cell, list) and all(isinstance(word, str | int | float) for word in cell):
        return " ".join(str(word).strip() for word in cell)
    return cell
