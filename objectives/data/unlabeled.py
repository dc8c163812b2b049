"""Texts without labels: out of any table that a task can read, and those that are left of the labelled data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autoopt.objectives.data.cells import plain_texts
from autoopt.objectives.data.columns import ANSWERS_NAMES, CONTEXT_NAMES, WORD_NAMES, Columns, choose
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.sources import tables
from autoopt.objectives.data.splits import count_of, rank
from autoopt.objectives.file_formats.table import Cell, Table
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError


def read_unlabeled(address: str, settings: DataSettings) -> tuple[list[str], list[str]]:
    """Return the texts at an address and notes on them; labels are not looked at. Raises ``DataError``.

    Words of a list are joined by blanks. Of questions with contexts the contexts are read, each once.
    """
    table = tables(address, part="train", whole=False)["train"]
    columns = _columns(table, settings)
    texts, notes = plain_texts(_with_joined_words(table, columns), columns)
    return list(dict.fromkeys(texts)), [*table.notes, *notes]


def drawn(texts: Iterable[str], amount: int | float | None, *, seed: int) -> tuple[str, ...]:
    """Return each text once, at most ``amount`` of them, drawn by what they say and the seed alone.

    Raises ``DataError`` where there are fewer.
    """
    unique = tuple(dict.fromkeys(texts))
    if amount is None:
        return unique
    size = count_of(amount, len(unique))
    if size > len(unique):
        raise DataError(
            f"there are {len(unique):,} unlabeled texts that are not held out, and data.split.unlabeled asks for "
            f"{size:,}; lower it, or give more with data.unlabeled"
        )
    return tuple(sorted(unique, key=lambda text: rank(Example(text), seed))[:size])


def _columns(table: Table, settings: DataSettings) -> Columns:
    # The columns that are named are those of the labelled data; unlabeled texts often come without some of them.
    text, pair = (name if name in table.columns else None for name in (settings.text, settings.text_pair))
    context = pair or _usual(table, CONTEXT_NAMES)
    if context and _usual(table, ANSWERS_NAMES):
        return Columns(context, None, None)
    words = _usual(table, WORD_NAMES)
    if text is None and words and _holds_lists(table, words):
        return Columns(words, None, None)
    return choose(table, text=text, text_pair=pair, label=None, labelled=False)


def _usual(table: Table, candidates: Sequence[str]) -> str | None:
    names = {name.lower(): name for name in table.columns}
    return next((names[name] for name in candidates if name in names), None)


def _holds_lists(table: Table, column: str) -> bool:
    position = table.columns.index(column)
    return isinstance(next((row[position] for row in table.rows if row[position] is not None), None), list)


def _with_joined_words(table: Table, columns: Columns) -> Table:
    if not _holds_lists(table, columns.text):
        return table
    position = table.columns.index(columns.text)
    rows = [[*row[:position], _joined(row[position]), *row[position + 1 :]] for row in table.rows]
    return Table(table.source, table.columns, rows, table.places, table.notes)


def _joined(cell: Cell) -> Cell:
    if isinstance(cell, list) and all(isinstance(word, str | int | float) for word in cell):
        return " ".join(str(word).strip() for word in cell)
    return cell
