"""From rows to labelled examples: what is missing, blank, or no class is found here, with the place where it stands."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import category

from autoopt.objectives.columns import Columns
from autoopt.objectives.table import MAX_CHARACTERS, Cell, Table
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError, did_you_mean

MAX_CLASSES = 1000
BLANK_SHARE = 0.5
"""Where more of the texts than this are blank, the column is not what was meant."""


@dataclass(frozen=True)
class Row:
    """A text with the name of its class, and where it stands."""

    text: str
    text_pair: str | None
    label: str
    place: str

    @property
    def key(self) -> tuple[str, str | None]:
        """What makes two rows the same text."""
        return self.text, self.text_pair


def labelled_rows(table: Table, columns: Columns) -> tuple[list[Row], list[str]]:
    """Return the rows with a text, and notes on what was dropped.

    Rows whose text is blank are dropped. Raises ``DataError`` for a missing label, for a cell that is no text, and
    where most texts are blank.
    """
    texts = _column(table, columns.text)
    pairs = _column(table, columns.text_pair) if columns.text_pair else [None] * len(texts)
    labels = _labels(table, columns.label or "")
    rows, blank = [], []
    for text, pair, label, place in zip(texts, pairs, labels, table.places, strict=True):
        if not text or (columns.text_pair and not pair):
            blank.append(place)
        else:
            rows.append(Row(text, pair, label, place))
    return rows, _blank_note(table, columns.text, blank)


def plain_texts(table: Table, columns: Columns) -> tuple[list[str], list[str]]:
    """Return the texts that are not blank, and notes on what was dropped."""
    texts = _column(table, columns.text) + (_column(table, columns.text_pair) if columns.text_pair else [])
    places = [*table.places, *(table.places if columns.text_pair else ())]
    blank = [place for text, place in zip(texts, places, strict=True) if not text]
    return [text for text in texts if text], _blank_note(table, columns.text, blank)


def class_names(rows: Iterable[Row], *, source: str, column: str) -> tuple[str, ...]:
    """Return the classes in order, numbers by their value. Raises ``DataError`` for one class, or for far too many."""
    counts = Counter(row.label for row in rows)
    if len(counts) < 2:
        only = next(iter(counts), "none")
        raise DataError(
            f"{source} has one class only ('{only}' in all {counts.total():,} rows of the column '{column}'); "
            "at least two classes are needed: check data.label, or add examples of another class"
        )
    if len(counts) > MAX_CLASSES or (counts.total() >= 20 and len(counts) > counts.total() / 2):
        raise DataError(
            f"{source} has {len(counts):,} different labels in {counts.total():,} rows of the column '{column}', which "
            f"does not look like classes (at most {MAX_CLASSES:,}, several rows each); choose another with data.label"
        )
    if all(_is_whole(name) for name in counts):
        return tuple(sorted(counts, key=int))
    return tuple(sorted(counts))


def to_examples(rows: Sequence[Row], labels: Sequence[str], *, source: str, trained_on: str) -> list[Example]:
    """Number the classes; raises ``DataError`` for a class that the training data does not have."""
    numbers: Mapping[str, int] = {name: number for number, name in enumerate(labels)}
    strange = [row for row in rows if row.label not in numbers]
    if strange:
        first = strange[0]
        raise DataError(
            f"{first.place}: the class '{first.label}' ({len(strange)} rows of {source}) does not occur in the "
            f"training data {trained_on}{did_you_mean(first.label, labels)}; add training examples of it, or remove "
            "these rows"
        )
    return [Example(text=row.text, label=numbers[row.label], text_pair=row.text_pair) for row in rows]


def _column(table: Table, name: str) -> list[str]:
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
    return _encodable(cell, place, column).strip()


def _encodable(text: str, place: str, column: str) -> str:
    """JSON can write half of a character, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: the column '{column}' has half of a character at place {error.start + 1}: the lone surrogate "
            f"\\u{ord(text[error.start]):04x}; remove it"
        ) from None
    return text


def _labels(table: Table, column: str) -> list[str]:
    position = table.columns.index(column)
    names = [_label(row[position], place, column) for row, place in zip(table.rows, table.places, strict=True)]
    missing = [place for name, place in zip(names, table.places, strict=True) if name is None]
    if missing:
        raise DataError(
            f"{missing[0]}: the column '{column}' has no label in {len(missing):,} of {len(names):,} rows, the first "
            "of them here; fill them in, remove these rows, or give them as data.unlabeled"
        )
    return [name for name in names if name is not None]


def _label(cell: Cell, place: str, column: str) -> str | None:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, float) and not cell.is_integer():
        raise DataError(
            f"{place}: the column '{column}' holds {cell}, a number and no class; choose the column of the classes "
            "with data.label"
        )
    if not isinstance(cell, str | int | float):
        raise DataError(f"{place}: the column '{column}' holds {cell!r:.60}, no class; choose another with data.label")
    if isinstance(cell, str):
        name = _encodable(cell, place, column).strip()
        if any(category(character) == "Cc" for character in name):
            raise DataError(
                f"{place}: the label {name!r:.60} in the column '{column}' holds a control character, as no class "
                "does; choose the column of the classes with data.label, or remove it"
            )
        return None if not name or name.lower() == "nan" else name
    return str(cell).lower() if isinstance(cell, bool) else str(int(cell))


def _is_whole(name: str) -> bool:
    return name.removeprefix("-").isdecimal() and name.isascii()


def _blank_note(table: Table, column: str, blank: Sequence[str]) -> list[str]:
    if not blank:
        return []
    if len(blank) > BLANK_SHARE * len(table.rows):
        raise DataError(
            f"{blank[0]}: the column '{column}' is blank in {len(blank):,} of {len(table.rows):,} rows, the first of "
            "them here; choose the column of the texts with data.text, or fill them in"
        )
    return [f"left out {len(blank):,} of {len(table.rows):,} rows with a blank text, the first at {blank[0]}"]
