"""From a table to tagged sentences: lists of words and of their tags, checked one against the other."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any
from unicodedata import category

from autoopt.objectives.data.cells import blank_note, encodable
from autoopt.objectives.data.columns import WORD_NAMES
from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.file_formats.table import Cell, Table
from autoopt.objectives.tasks.text_classification.reading import MAX_CLASSES
from autoopt.strategies.errors import DataError, did_you_mean
from autoopt.strategies.texts.tag_schemes import OUTSIDE

TAG_NAMES = ("ner_tags", "tags", "ner", "labels", "label", "tag", "entities", "ner_labels", "tag_names")
"""Names of a column of lists of tags, the likeliest first."""
DOCUMENT_NAMES = ("document", "document_id", "doc_id", "doc")
NO_BREAK_SPACE = "\u00a0"
"""Stands for a blank within a word, so that ``text.split(" ")`` gives the words back."""


def read_tagged(table: Table, settings: DataSettings) -> Reading:
    """Return a row for each sentence: its words with blanks between them, and the name of a tag for each.

    Sentences of one document are a group where there are several documents. Sentences without words are dropped.
    Raises ``DataError`` for cells that are no lists, a list of tags that is longer or shorter than that of the words,
    an empty word, and what is no tag.
    """
    words = _column(table, settings.text, WORD_NAMES, key="text", what="words")
    tags = _column(table, settings.label, TAG_NAMES, key="label", what="tags")
    groups = _groups(table)
    rows, empty = [], []
    for row, place, group in zip(table.rows, table.places, groups, strict=True):
        sentence = [_word(cell, place, words) for cell in _list(row[table.columns.index(words)], place, words, "text")]
        names = [_tag(cell, place, tags) for cell in _list(row[table.columns.index(tags)], place, tags, "label")]
        if len(sentence) != len(names):
            raise DataError(
                f"{place}: {len(sentence)} words in the column '{words}' and {len(names)} tags in '{tags}'; give each "
                "word one tag"
            )
        if sentence:
            rows.append(Row(" ".join(sentence), None, tuple(names), place, group))
        else:
            empty.append(place)
    notes = [*blank_note(table, words, empty), *_number_note(rows, tags)]
    return Reading(rows, f"words from the column '{words}', tags from '{tags}'", tuple(notes))


def tag_names(rows: Sequence[Row], *, source: str) -> tuple[str, ...]:
    """Return the tags that occur, 'O' first, numbers by their value; raises ``DataError`` for one only, or too many."""
    counts = Counter(
        name for row in rows if isinstance(row.label, tuple) for name in row.label if isinstance(name, str)
    )
    if len(counts) < 2:
        only = next(iter(counts), "none")
        raise DataError(
            f"{source} has no entities: all {counts.total():,} words have the tag '{only}'; choose another column with "
            "data.label, or add sentences with entities"
        )
    if len(counts) > MAX_CLASSES:
        raise DataError(
            f"{source} has {len(counts):,} different tags, which does not look like tags (at most {MAX_CLASSES:,}); "
            "choose another column with data.label"
        )
    if _are_numbers(counts):
        return tuple(sorted(counts, key=int))
    return tuple(sorted(counts, key=lambda name: (name != OUTSIDE, name)))


def _column(table: Table, given: str | None, usual: Sequence[str], *, key: str, what: str) -> str:
    listed = ", ".join(f"{name!r:.60}" for name in table.columns[:20])
    if given is not None:
        if given not in table.columns:
            raise DataError(
                f"{table.source} has no column '{given}', which data.{key} names{did_you_mean(given, table.columns)}; "
                f"its columns are {listed}"
            )
        return given
    names = {name.lower(): name for name in table.columns}
    for name in usual:
        if name in names:
            return names[name]
    raise DataError(
        f"{table.source} has no column that is known to hold lists of {what}; its columns are {listed}; name one, for "
        f"example '{key}: COLUMN' under data"
    )


def _groups(table: Table) -> list[str]:
    names = {name.lower(): place for place, name in enumerate(table.columns)}
    position = next((names[name] for name in DOCUMENT_NAMES if name in names), None)
    if position is None:
        return [""] * len(table.rows)
    cells = [row[position] for row in table.rows]
    groups = ["" if cell is None or isinstance(cell, list | dict) else str(cell) for cell in cells]
    # A single document could not be split.
    return groups if len(set(groups) - {""}) > 1 else [""] * len(groups)


def _list(cell: Cell, place: str, column: str, key: str) -> list[Any]:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return []
    if not isinstance(cell, list):
        raise DataError(
            f"{place}: the column '{column}' holds {cell!r:.60} ({type(cell).__name__}), no list; choose a column of "
            f"lists with data.{key}, or give the data as jsonl, parquet or CoNLL"
        )
    return cell


def _word(cell: Any, place: str, column: str) -> str:
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        raise DataError(
            f"{place}: a list in the column '{column}' holds {cell!r:.60} ({type(cell).__name__}), no word; choose the "
            "column of the words with data.text, or correct it"
        )
    word = encodable(str(cell), place, column).strip(string.whitespace)
    if not word:
        raise DataError(f"{place}: the column '{column}' has an empty word; leave it out, and its tag with it")
    return word.replace(" ", NO_BREAK_SPACE)


def _tag(cell: Any, place: str, column: str) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool) and cell >= 0:
        return str(cell)
    name = encodable(cell, place, column).strip() if isinstance(cell, str) else ""
    if not name or re.fullmatch(r".?-|-.*", name) or any(category(character) == "Cc" for character in name):
        raise DataError(
            f"{place}: the column '{column}' holds the tag {cell!r:.60}; a tag is 'O', a type such as 'PER', or one "
            "with a prefix such as 'B-PER': correct it, or choose another column with data.label"
        )
    return name


def _number_note(rows: Sequence[Row], column: str) -> list[str]:
    names = {name for row in rows if isinstance(row.label, tuple) for name in row.label if isinstance(name, str)}
    if not _are_numbers(names):
        return []
    return [f"the tags in the column '{column}' are numbers without names; 0 is taken for no entity"]


def _are_numbers(names: Sequence[str] | set[str] | Counter[str]) -> bool:
    return bool(names) and all(name.isdecimal() and name.isascii() for name in names)
