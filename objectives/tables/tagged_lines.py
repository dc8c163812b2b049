"""Lines of a CoNLL file: a word and its tag on each, a blank line between sentences."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from autoopt.objectives.tables.conllu import conllu_table, is_conllu
from autoopt.objectives.tables.table import Cell, Table
from autoopt.strategies.errors import DataError

COLUMNS = ("tokens", "tags", "document")
"""Columns of the table: words of a sentence, their tags, and the number of its document, None without documents."""
MAX_COLUMNS = 4
"""Columns of a file beside an index. CoNLL-2003 has word, part of speech, chunk and tag; the last is the tag."""
DOCUMENT_START = "-DOCSTART-"
MIN_SAMPLE = 1000
"""Number of lines by which the content of a file is recognized."""
_TAG = re.compile(r"[BIESLU]-\S+")


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    fields: tuple[str, ...]

    @property
    def starts_document(self) -> bool:
        return self.text.startswith(DOCUMENT_START)

    @property
    def may_be_comment(self) -> bool:
        return self.text.startswith("# ")


def tagged_table(source: str, numbered: Iterable[tuple[int, str]]) -> Table:
    """Return a row for each sentence of numbered lines, with the columns ``COLUMNS``; its place is its first word.

    The delimiter is a tab if most lines have one, else blanks. A line ``# id 7`` before a sentence is a comment unless
    it ends in a tag that other lines have. A first column that counts the words of each sentence is not read. Columns
    between word and tag are columns of the table by their number in the file, such as ``column_2``. CoNLL-U has its
    own columns. Raises ``DataError``.
    """
    raw = [(number, line.rstrip(string.whitespace)) for number, line in numbered]
    if is_conllu(line for _, line in raw):
        return conllu_table(source, raw)
    parsed = _parsed(raw)
    first_column = 1
    if _has_index(parsed):
        parsed, first_column = _without_index(parsed), 2
    words = [line for line in parsed if line.fields and not line.starts_document and not line.may_be_comment]
    if not words:
        raise DataError(
            f"{source} holds no sentence; it needs a line with a word and its tag for each word, separated by a tab or "
            "a blank, and a blank line between two sentences"
        )
    width = _column_count(source, words)
    tag = _tag_column(words, width) if first_column == 2 else width - 1
    others = [column for column in range(1, width) if column != tag]
    tags = {line.fields[tag] for line in words if len(line.fields) == width}
    rows: list[list[Cell]] = []
    places: list[str] = []
    bad: list[str] = []
    for sentence, document in _sentences(parsed, width, tag, tags):
        try:
            for line in sentence:
                _check(source, line, width)
        except DataError as error:
            bad.append(str(error))
            continue
        columns = [[line.fields[column] for line in sentence] for column in (0, tag, *others)]
        rows.append([*columns[:2], document, *columns[2:]])
        places.append(f"{source}:{sentence[0].number}")
    names = tuple(f"column_{column + first_column}" for column in others)
    notes = _notes(names, tag + first_column)
    return Table(source, (*COLUMNS, *names), rows, places, notes, bad_rows=tuple(bad))


def is_tagged(lines: Iterable[str]) -> bool:
    """Return whether lines can only be those of a CoNLL file: each word has a tag such as ``O`` or ``B-PER``."""
    words = [line.rstrip(string.whitespace) for line in lines if line.strip()]
    if is_conllu(words):
        return True
    parsed = _parsed(enumerate(words))
    fields = [line.fields for line in parsed if not line.starts_document and not line.text.startswith("#")]
    widths = {len(of_line) for of_line in fields}
    if len(widths) != 1 or not 1 < max(widths) <= MAX_COLUMNS + 1:
        return False
    return any(_are_tags([of_line[column] for of_line in fields]) for column in range(1, max(widths)))


def _are_tags(fields: Sequence[str]) -> bool:
    tags = {field for field in fields if field != "O"}
    return len(tags) > 0 and len(fields) > sum(map(tags.__contains__, fields)) and all(map(_TAG.fullmatch, tags))


def _notes(names: Sequence[str], tag: int) -> tuple[str, ...]:
    if not names:
        return ()
    return (f"tags from column {tag} of the file; data.label may name another: {', '.join(names)}",)


def _parsed(raw: Iterable[tuple[int, str]]) -> list[_Line]:
    listed = list(raw)
    non_empty = [line for _, line in listed if line]
    is_tab_separated = sum("\t" in line for line in non_empty) * 2 > len(non_empty)
    return [_Line(number, line, _fields(line, is_tab_separated=is_tab_separated)) for number, line in listed]


def _has_index(parsed: Sequence[_Line]) -> bool:
    """Return whether the first of at least three columns counts the words of each sentence from 1."""
    expected, longest = 1, 0
    for line in parsed:
        if not line.fields or line.starts_document:
            expected = 1
        elif line.fields[0] == str(expected) and len(line.fields) > 2:
            longest, expected = max(longest, expected), expected + 1
        elif expected > 1 or not line.text.startswith("#"):
            return False
    return longest > 1


def _without_index(parsed: Sequence[_Line]) -> list[_Line]:
    """Return the lines without their first column, and without those that have no index, which are comments."""
    kept = [line for line in parsed if not line.fields or line.starts_document or line.fields[0].isdecimal()]
    return [line if line.starts_document else replace(line, fields=line.fields[1:]) for line in kept]


def _tag_column(words: Sequence[_Line], width: int) -> int:
    """Return the column of the tags: the last, or the one before it if the last has entities within those entities.

    So it is in GermEval 2014, where a second column of tags has nested names of the same types.
    """
    fields = [line.fields for line in words if len(line.fields) == width]
    if width == 3 and _are_tags([of_line[1] for of_line in fields]):
        nested = {of_line[2][2:] for of_line in fields} - {""}
        if nested <= {of_line[1][2:] for of_line in fields} or _are_tags([of_line[2] for of_line in fields]):
            return 1
    return width - 1


def _fields(line: str, *, is_tab_separated: bool) -> tuple[str, ...]:
    if not line:
        return ()
    # Not str.split(): a no-break space belongs to its word.
    parts = re.split(r"\t+", line) if is_tab_separated else re.split(r"[ \t]+", line.lstrip(" \t"))
    return tuple(part.strip(" ") for part in parts)


def _column_count(source: str, words: Sequence[_Line]) -> int:
    """Return the number of columns that most lines have."""
    width = Counter(len(line.fields) for line in words).most_common(1)[0][0]
    first = next(line for line in words if len(line.fields) == width)
    if width == 1:
        raise _missing_tag_error(source, first)
    if width > MAX_COLUMNS:
        raise DataError(
            f"{source}:{first.number}: {width} columns, and 2 to {MAX_COLUMNS} are read, the first of which is the "
            "word and the last its tag; remove the others"
        )
    return width


def _sentences(
    parsed: Sequence[_Line], width: int, tag: int, tags: set[str]
) -> Iterator[tuple[list[_Line], int | None]]:
    """Yield the lines of each sentence and the number of its document."""
    document: int | None = None
    sentence: list[_Line] = []
    for line in parsed:
        is_word = len(line.fields) == width and line.fields[tag] in tags
        if line.fields and not line.starts_document:
            if sentence or is_word or not line.may_be_comment:
                sentence.append(line)
            continue
        if sentence:
            yield sentence, document
            sentence = []
        if line.starts_document:
            document = (document or 0) + 1
    if sentence:
        yield sentence, document


def _check(source: str, line: _Line, width: int) -> None:
    if not line.fields[0]:
        raise DataError(f"{source}:{line.number}: a tag without a word; write the word before it, or remove the line")
    if len(line.fields) == 1:
        raise _missing_tag_error(source, line)
    if len(line.fields) != width:
        raise DataError(
            f"{source}:{line.number}: {len(line.fields)} columns where other lines have {width}; give each line the "
            "same columns, and put a blank line between two sentences"
        )


def _missing_tag_error(source: str, line: _Line) -> DataError:
    return DataError(
        f"{source}:{line.number}: the word {line.text!r:.60} has no tag; write its tag behind it, after a tab or a "
        "blank as in the other lines"
    )
