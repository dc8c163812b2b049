"""Cells of a table as text. Errors name the place of a cell that holds no usable text."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives.data.columns import Columns
from autoopt.objectives.tables.bad_rows import check_bad_rows
from autoopt.objectives.tables.table import MAX_CHARACTERS, Cell, Table
from autoopt.strategies.errors import DataError

MAX_BLANK_SHARE = 0.5
"""Maximum share of blank texts; above it the column is taken for the wrong one."""


def non_blank_texts(table: Table, columns: Columns) -> tuple[list[str], list[str]]:
    """Return the texts that are not blank, and notes on the rows left out. Raises ``DataError``."""
    texts = stripped_texts(table, columns.text)
    texts += stripped_texts(table, columns.text_pair) if columns.text_pair else []
    places = [*table.places, *(table.places if columns.text_pair else ())]
    # An empty line of a text file is not a missing text.
    is_line = [str(row[0]).endswith("\n") for row in table.rows] if len(table.columns) == 1 else [False] * len(places)
    blank = [place for text, place, line in zip(texts, places, is_line, strict=True) if not text and not line]
    return [text for text in texts if text], blank_notes(table, columns.text, blank)


def stripped_texts(table: Table, column: str) -> list[str]:
    """Return the texts of a column without surrounding blanks, empty for missing ones. Raises ``DataError``."""
    return [text.strip() for text in raw_texts(table, column)]


def raw_texts(table: Table, column: str) -> list[str]:
    """Return the texts of a column unchanged, empty for missing ones. Raises ``DataError`` with all that are none."""
    position = table.columns.index(column)
    texts, bad = [], []
    for row, place in zip(table.rows, table.places, strict=True):
        try:
            texts.append(cell_text(row[position], place, column))
        except DataError as error:
            bad.append(str(error))
    check_bad_rows(bad, len(table.rows), tolerate=0, source=table.source)
    return texts


def cell_text(cell: Cell, place: str, column: str) -> str:
    """Return the text of a cell unchanged, empty if it is missing. Raises ``DataError``."""
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise DataError(
            f"{place}: the column '{column}' holds {cell!r:.60} ({type(cell).__name__}), no text; choose the column of "
            "the texts with data.text"
        )
    if len(cell) > MAX_CHARACTERS:
        raise DataError(
            f"{place}: the text has {len(cell):,} characters, at most {MAX_CHARACTERS:,} are read; shorten it"
        )
    return check_encodable(cell, place, column)


def check_encodable(text: str, place: str, column: str) -> str:
    """Return the text. Raises ``DataError`` for a lone surrogate, which JSON can hold and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: the column '{column}' has half of a character at place {error.start + 1}: the lone surrogate "
            f"\\u{ord(text[error.start]):04x}; remove it"
        ) from None
    return text


def blank_notes(table: Table, column: str, blank: Sequence[str]) -> list[str]:
    """Return a note on the rows left out for a blank text, given their places. Raises ``DataError`` if most are."""
    if not blank:
        return []
    if len(blank) > MAX_BLANK_SHARE * len(table.rows):
        raise DataError(
            f"{blank[0]}: the column '{column}' is blank in {len(blank):,} of {len(table.rows):,} rows, the first of "
            "them here; choose the column of the texts with data.text, or fill them in"
        )
    return [f"left out {len(blank):,} of {len(table.rows):,} rows with a blank text, the first at {blank[0]}"]
