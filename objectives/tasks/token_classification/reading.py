"""From a table to tagged sentences: a list of words and a list of their tags in each row."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from unicodedata import category, normalize

from autoopt.objectives.data.cells import blank_notes, check_encodable
from autoopt.objectives.data.columns import WORD_NAMES, find_column, usual_column
from autoopt.objectives.data.rows import LeftOut, Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.tables.list_text import with_parsed_lists
from autoopt.objectives.tables.table import TEXT_COLUMN, Cell, Table
from autoopt.objectives.tables.tagged_lines import tagged_table
from autoopt.objectives.tasks.token_classification.span_tags import COLUMNS, span_column, with_span_tags
from autoopt.strategies.errors import DataError
from autoopt.strategies.texts.tag_schemes import OUTSIDE

TAG_NAMES = ("ner_tags", "tags", "ner", "labels", "label", "tag", "entities", "ner_labels", "tag_names", "upos")
"""Usual names of a column of lists of tags, the likeliest first."""
DOCUMENT_NAMES = ("document", "document_id", "doc_id", "doc")
NO_BREAK_SPACE = "\u00a0"
"""Replaces a blank within a word, so that ``text.split(" ")`` returns the words."""


def read_tagged(table: Table, settings: DataSettings) -> Reading:
    """Return a row for each sentence: its words joined by blanks, and a tag for each word.

    Sentences of a document are a group if there are several documents. Sentences without words are left out. A row is
    bad if a cell is not a list, or for unequal numbers of words and tags, an empty word or an invalid tag. Raises
    ``DataError`` if a column cannot be found.
    """
    given_notes = len(table.notes)
    if _is_plain_lines(table):
        table = _from_lines(table)
    spans, span_warnings = span_column(table, settings), list[str]()
    bad: list[str] = []
    if spans:
        table, span_warnings, bad = with_span_tags(table, spans, settings)
        settings = settings.model_copy(update={"text": COLUMNS[0], "label": COLUMNS[1]})
    word_column = find_column(table, WORD_NAMES, key="text", setting=settings.text, content="lists of words")
    tag_column = find_column(table, TAG_NAMES, key="label", setting=settings.label, content="lists of tags")
    table = with_parsed_lists(table, (word_column, tag_column))
    word_position, tag_position = table.columns.index(word_column), table.columns.index(tag_column)
    rows: list[Row] = []
    empty: list[str] = []
    untagged: list[str] = []
    for cells, place, group in zip(table.rows, table.places, _groups(table), strict=True):
        try:
            words = _words(cells[word_position], place, word_column)
            items = _list(cells[tag_position], place, tag_column, "label")
            if tag_column in table.class_columns and None in items:
                untagged.append(place)
                continue
            tags = [_tag(item, place, tag_column) for item in items]
            _check_lengths(words, tags, place, word_column, tag_column)
        except DataError as error:
            bad.append(str(error))
            continue
        if words:
            rows.append(Row(" ".join(words), None, tuple(tags), place, group))
        else:
            empty.append(place)
    notes = [*table.notes[given_notes:], *blank_notes(table, word_column, empty), *_number_notes(rows, tag_column)]
    return Reading(
        rows,
        f"words from the column '{word_column}', tags from '{tag_column}'",
        tuple(notes),
        (*span_warnings, *_untagged_warnings(untagged, table, tag_column)),
        tuple(bad),
        (LeftOut("no words", len(empty), empty[:1]), LeftOut("a word without a tag", len(untagged), untagged[:1])),
    )


def _is_plain_lines(table: Table) -> bool:
    return table.columns == (TEXT_COLUMN,) and any(str(row[0]).endswith("\n") for row in table.rows)


def _from_lines(table: Table) -> Table:
    """Return the sentences in the lines of a text file. Raises ``DataError`` if they are not those of CoNLL."""
    numbers = [int(place.rpartition(":")[2]) for place in table.places]
    read = tagged_table(table.source, zip(numbers, (str(row[0]) for row in table.rows), strict=True))
    return replace(read, notes=(*table.notes, *read.notes), warnings=table.warnings, bad_rows=table.bad_rows)


def _untagged_warnings(untagged: Sequence[str], table: Table, column: str) -> list[str]:
    if not untagged:
        return []
    count = f"{len(untagged):,} of {len(table.rows):,} sentences"
    return [f"left out {count} with a word that has no tag in the column '{column}', the first at {untagged[0]}"]


def tag_names(rows: Sequence[Row], *, source: str) -> tuple[str, ...]:
    """Return the tags that occur, 'O' first, numbers by value. Raises ``DataError`` for a single one."""
    counts = Counter(_tags(rows))
    if len(counts) < 2:
        only = next(iter(counts), "none")
        raise DataError(
            f"{source} has no entities: all {counts.total():,} words have the tag '{only}'; choose another column with "
            "data.label, or add sentences with entities"
        )
    if _are_numbers(counts):
        return tuple(sorted(counts, key=int))
    return tuple(sorted(counts, key=lambda name: (name != OUTSIDE, name)))


def _tags(rows: Sequence[Row]) -> list[str]:
    labels = [row.label for row in rows if isinstance(row.label, tuple)]
    return [tag for label in labels for tag in label if isinstance(tag, str)]


def _groups(table: Table) -> list[str]:
    """Return the document of each row; empty without such a column, or with a single document: it cannot be split."""
    column = usual_column(table, DOCUMENT_NAMES)
    if column is None:
        return [""] * len(table.rows)
    position = table.columns.index(column)
    cells = [row[position] for row in table.rows]
    groups = ["" if cell is None or isinstance(cell, list | dict) else str(cell) for cell in cells]
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


def _words(cell: Cell, place: str, column: str) -> list[str]:
    return [_word(item, place, column) for item in _list(cell, place, column, "text")]


def _check_lengths(words: Sequence[str], tags: Sequence[str], place: str, word_column: str, tag_column: str) -> None:
    if len(words) != len(tags):
        raise DataError(
            f"{place}: {len(words)} words in the column '{word_column}' and {len(tags)} tags in '{tag_column}'; "
            "give each word one tag"
        )


def _word(item: Any, place: str, column: str) -> str:
    if isinstance(item, bool) or not isinstance(item, str | int | float):
        raise DataError(
            f"{place}: a list in the column '{column}' holds {item!r:.60} ({type(item).__name__}), no word; choose the "
            "column of the words with data.text, or correct it"
        )
    word = check_encodable(str(item), place, column).strip(string.whitespace)
    if not word:
        raise DataError(f"{place}: the column '{column}' has an empty word; remove it and its tag")
    return word.replace(" ", NO_BREAK_SPACE)


def _tag(item: Any, place: str, column: str) -> str:
    if isinstance(item, int) and not isinstance(item, bool) and item >= 0:
        return str(item)
    name = normalize("NFC", check_encodable(item, place, column)).strip() if isinstance(item, str) else ""
    if not name or re.fullmatch(r".?-|-.*", name) or any(category(character) == "Cc" for character in name):
        raise DataError(
            f"{place}: the column '{column}' holds the tag {item!r:.60}; a tag is 'O', a type such as 'PER', or one "
            "with a prefix such as 'B-PER': correct it, or choose another column with data.label"
        )
    return name


def _number_notes(rows: Sequence[Row], column: str) -> list[str]:
    if not _are_numbers(set(_tags(rows))):
        return []
    return [f"the tags in the column '{column}' are numbers without names; 0 is taken for no entity"]


def _are_numbers(names: Iterable[str]) -> bool:
    listed = list(names)
    return bool(listed) and all(name.isdecimal() and name.isascii() for name in listed)
