"""Cells of a table as text: what is missing, blank or no text is found here, with the place where it stands."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoopt.objectives.data.columns import Columns
from autoopt.objectives.file_formats.table import MAX_CHARACTERS, Cell, Table
from autoopt.strategies.errors import DataError

BLANK_SHARE = 0.5
"""Where more of the texts than this are blank, the column is not what was meant."""


def plain_texts(table: Table, columns: Columns) -> tuple[list[str], list[str]]:
    """Return the texts that are not blank, and notes on what was dropped."""
    texts = column_of_texts(table, columns.text)
    texts += column_of_texts(table, columns.text_pair) if columns.text_pair else []
    places = [*table.places, *(table.places if columns.text_pair else ())]
    # An empty line of a text file is no text that is missing.
    lines = [str(row[0]).endswith("\n") for row in table.rows] if len(table.columns) == 1 else [False] * len(places)
    blank = [place for text, place, line in zip(texts, places, lines, strict=True) if not text and not line]
    return [text for text in texts if text], blank_note(table, columns.text, blank)


def column_of_texts(table: Table, name: str) -> list[str]:
    """The texts of one column, without blanks around them, empty where there is none; raises ``DataError``."""
    return [text.strip() for text in raw_texts(table, name)]


def raw_texts(table: Table, name: str) -> list[str]:
    """The texts of one column as they stand, empty where there is none; raises ``DataError``."""
    position = table.columns.index(name)
    return [_text(row[position], place, name) for row, place in zip(table.rows, table.places, strict=True)]


def _text(cell: Cell, place: str, column: str) -> str:
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
    return encodable(cell, place, column)


def encodable(text: str, place: str, column: str) -> str:
    """Return the text, or raise ``DataError``: JSON can write half of a character, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: the column '{column}' has half of a character at place {error.start + 1}: the lone surrogate "
            f"\\u{ord(text[error.start]):04x}; remove it"
        ) from None
    return text


def is_missing(cell: Cell) -> bool:
    """True for what stands for no value: nothing, blanks, ``nan``."""
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in {"", "nan"})


def blank_note(table: Table, column: str, blank: Sequence[str]) -> list[str]:
    """Say how many rows with a blank text were left out; raises ``DataError`` where they are most of all."""
    if not blank:
        return []
    if len(blank) > BLANK_SHARE * len(table.rows):
        raise DataError(
            f"{blank[0]}: the column '{column}' is blank in {len(blank):,} of {len(table.rows):,} rows, the first of "
            "them here; choose the column of the texts with data.text, or fill them in"
        )
    return [f"left out {len(blank):,} of {len(table.rows):,} rows with a blank text, the first at {blank[0]}"]
