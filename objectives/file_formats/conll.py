"""CoNLL files: a word and its tag on each line, a blank line between sentences."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoopt.objectives.file_formats import FileFormat
from autoopt.objectives.tables.table import Table
from autoopt.objectives.tables.text_lines import lines
from autoopt.strategies.errors import DataError

COLUMNS = ("tokens", "tags", "document")
"""Columns of the table: words of a sentence, their tags, and the number of its document, None without documents."""
MAX_COLUMNS = 4
"""Columns of a file. CoNLL-2003 has word, part of speech, chunk and tag; only the first and the last are read."""
DOCUMENT_START = "-DOCSTART-"


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


def read_conll(path: Path) -> Table:
    """Read a row for each sentence, with the columns ``COLUMNS``; its place is its first word.

    The delimiter is a tab if most lines have one, else blanks. A line ``# id 7`` before a sentence is a comment unless
    it ends in a tag that other lines have. Raises ``DataError``.
    """
    parsed = _parsed_lines(path)
    words = [line for line in parsed if line.fields and not line.starts_document and not line.may_be_comment]
    if not words:
        raise DataError(
            f"{path} holds no sentence; it needs a line with a word and its tag for each word, separated by a tab or "
            "a blank, and a blank line between two sentences"
        )
    width = _column_count(path, words)
    tags = {line.fields[-1] for line in words if len(line.fields) == width}
    rows, places = [], []
    for sentence, document in _sentences(parsed, width, tags):
        for line in sentence:
            _check(path, line, width)
        rows.append([[line.fields[0] for line in sentence], [line.fields[-1] for line in sentence], document])
        places.append(f"{path}:{sentence[0].number}")
    return Table(str(path), COLUMNS, rows, places)


def _parsed_lines(path: Path) -> list[_Line]:
    raw = [(number, line.rstrip(string.whitespace)) for number, line in lines(path)]
    non_empty = [line for _, line in raw if line]
    is_tab_separated = sum("\t" in line for line in non_empty) * 2 > len(non_empty)
    return [_Line(number, line, _fields(line, is_tab_separated=is_tab_separated)) for number, line in raw]


def _fields(line: str, *, is_tab_separated: bool) -> tuple[str, ...]:
    if not line:
        return ()
    # Not str.split(): a no-break space belongs to its word.
    parts = re.split(r"\t+", line) if is_tab_separated else re.split(r"[ \t]+", line.lstrip(" \t"))
    return tuple(part.strip(" ") for part in parts)


def _column_count(path: Path, words: Sequence[_Line]) -> int:
    """Return the number of columns that most lines have."""
    width = Counter(len(line.fields) for line in words).most_common(1)[0][0]
    first = next(line for line in words if len(line.fields) == width)
    if width == 1:
        raise _missing_tag_error(path, first)
    if width > MAX_COLUMNS:
        raise DataError(
            f"{path}:{first.number}: {width} columns, and 2 to {MAX_COLUMNS} are read, the first of which is the word "
            "and the last its tag; remove the others"
        )
    return width


def _sentences(parsed: Sequence[_Line], width: int, tags: set[str]) -> Iterator[tuple[list[_Line], int | None]]:
    """Yield the lines of each sentence and the number of its document."""
    document: int | None = None
    sentence: list[_Line] = []
    for line in parsed:
        is_word = len(line.fields) == width and line.fields[-1] in tags
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


def _check(path: Path, line: _Line, width: int) -> None:
    if not line.fields[0]:
        raise DataError(f"{path}:{line.number}: a tag without a word; write the word before it, or remove the line")
    if len(line.fields) == 1:
        raise _missing_tag_error(path, line)
    if len(line.fields) != width:
        raise DataError(
            f"{path}:{line.number}: {len(line.fields)} columns where other lines have {width}; give each line the same "
            "columns, and put a blank line between two sentences"
        )


def _missing_tag_error(path: Path, line: _Line) -> DataError:
    return DataError(
        f"{path}:{line.number}: the word {line.text!r:.60} has no tag; write its tag behind it, after a tab or a "
        "blank as in the other lines"
    )


CONLL = FileFormat(
    suffixes=(".conll", ".conll03", ".bio", ".iob", ".iob2"),
    read=read_conll,
    example=lambda: b"Chelsea\tB-ORG\nwon\tO\n\nAnna\tB-PER\nleft\tO\n",
)
