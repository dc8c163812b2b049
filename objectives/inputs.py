"""From a table to what a model predicts: the text of each row, or its two texts. Nothing is left out or made up."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from autoopt.objectives.data.cells import check_encodable
from autoopt.objectives.data.columns import PAIR_NAMES, TEXT_NAMES
from autoopt.objectives.tables.table import MAX_CHARACTERS, Cell, Table
from autoopt.strategies.errors import DataError, did_you_mean

Input: TypeAlias = str | tuple[str, str]
"""What ``Task.predict`` takes: a text or a pair of texts."""

_JSON_OBJECT = re.compile(r'\s*\{\s*["}]')


@dataclass(frozen=True)
class InputNames:
    """Usual names of the columns that hold a task's inputs, the likeliest first."""

    texts: tuple[str, ...] = TEXT_NAMES
    pairs: tuple[tuple[str, str], ...] = PAIR_NAMES
    """Empty for a task that reads single texts."""
    needs_pair: bool = False


@dataclass(frozen=True)
class InputColumns:
    """Columns in use; a row has two texts if ``text_pair`` is given."""

    text: str
    text_pair: str | None = None


def choose_inputs(table: Table, names: InputNames, *, text: str | None, text_pair: str | None) -> InputColumns:
    """Return the columns with these names, by default those with usual names. Raises ``DataError``."""
    for option, name in (("--text-column", text), ("--pair-column", text_pair)):
        if name is not None and name not in table.columns:
            raise DataError(
                f"{table.source} has no column '{name}', which {option} names{did_you_mean(name, table.columns)}; its "
                f"columns are {_listed(table.columns)}"
            )
    if text_pair and not names.pairs:
        raise DataError("this model reads single texts; leave out --pair-column")
    spelled = {name.lower(): name for name in table.columns}
    if text is None and text_pair is None:
        for first, second in names.pairs:
            if first in spelled and second in spelled:
                return InputColumns(spelled[first], spelled[second])
    usual = (spelled[name] for name in names.texts if name in spelled and spelled[name] != text_pair)
    text = text or next(usual, None)
    if text is None:
        raise DataError(
            f"{table.source} has no column that is known to hold texts; its columns are {_listed(table.columns)}; name "
            "one with --text-column"
        )
    if names.needs_pair and text_pair is None:
        text_pair = next((spelled[second] for _, second in names.pairs if spelled.get(second, text) != text), None)
        if text_pair is None:
            raise DataError(
                f"{table.source}: this model reads two texts, and only the column '{text}' is known to hold one; its "
                f"columns are {_listed(table.columns)}; name the other one with --pair-column"
            )
    return InputColumns(text, text_pair)


def read_inputs(table: Table, columns: InputColumns) -> list[Input]:
    """Return the text, or the pair of texts, of each row. Raises ``DataError`` with the place of one that is missing.

    A list of words is joined by blanks.
    """
    texts = _texts(table, columns.text)
    if columns.text_pair is None:
        return list(texts)
    return list(zip(texts, _texts(table, columns.text_pair), strict=True))


def check_is_text(line: str, place: str) -> None:
    """Raise ``DataError`` for a line of a plain text that is an object of JSON, whose syntax would be predicted."""
    if _JSON_OBJECT.match(line):
        try:
            is_object = isinstance(json.loads(line), dict)
        except ValueError:
            return
        if is_object:
            raise DataError(
                f"{place}: this line of text is a JSON object; let the file's name end in .jsonl, and on stdin begin "
                "with such a line"
            )


def is_json_object(line: str) -> bool:
    """Return whether a line begins as an object of JSON does."""
    return _JSON_OBJECT.match(line) is not None


def _texts(table: Table, column: str) -> list[str]:
    if column not in table.columns:
        raise DataError(f"{table.places[0]}: there is no '{column}' here; write it in every row")
    position = table.columns.index(column)
    return [_text(row[position], place, column) for row, place in zip(table.rows, table.places, strict=True)]


def _text(cell: Cell, place: str, column: str) -> str:
    if isinstance(cell, list) and cell and all(isinstance(word, str) for word in cell):
        cell = " ".join(map(str, cell))
    if cell is None or cell == [] or (isinstance(cell, float) and math.isnan(cell)):
        raise DataError(f"{place}: there is no text in the column '{column}'; fill it in, or remove the row")
    if not isinstance(cell, str):
        raise DataError(
            f"{place}: the column '{column}' holds {cell!r:.60} ({type(cell).__name__}), no text; name the column of "
            "the texts with --text-column, or correct it"
        )
    if not cell.strip():
        raise DataError(f"{place}: the text in the column '{column}' is blank; fill it in, or remove the row")
    if len(cell) > MAX_CHARACTERS:
        raise DataError(f"{place}: the text has {len(cell):,} characters, at most {MAX_CHARACTERS:,} are read")
    return check_encodable(cell, place, column)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(f"{name!r:.60}" for name in columns[:20])
    return f"{shown} and {len(columns) - 20} more" if len(columns) > 20 else shown
