"""CoNLL files: on each line a word and its tag, and a blank line between two sentences."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoopt.objectives.file_formats.table import Table
from autoopt.objectives.file_formats.text_lines import lines
from autoopt.strategies.errors import DataError

COLUMNS = ("tokens", "tags", "document")
"""Of the table: the words of a sentence, the tags of these, and the number of its document, None where it has none."""
MOST_COLUMNS = 4
"""In the file. CoNLL-2003 has a word, its part of speech, its chunk and its tag; the columns between are not read."""
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
    """Read a row for each sentence, placed at its first word: the columns are ``COLUMNS``.

    Columns of the file are separated by tabs where most lines have one, else by blanks. A line ``# id 7`` before a
    sentence is a comment unless it ends in a tag that other lines have. Raises ``DataError``.
    """
    found = _lines(path)
    words = [line for line in found if line.fields and not line.starts_document and not line.may_be_comment]
    if not words:
        raise DataError(
            f"{path} holds no sentence; it needs a line with a word and its tag for each word, separated by a tab or "
            "a blank, and a blank line between two sentences"
        )
    width = _width(path, words)
    tags = {line.fields[-1] for line in words if len(line.fields) == width}
    rows, places = [], []
    for sentence, document in _sentences(found, width, tags):
        for line in sentence:
            _check(path, line, width)
        rows.append([[line.fields[0] for line in sentence], [line.fields[-1] for line in sentence], document])
        places.append(f"{path}:{sentence[0].number}")
    return Table(str(path), COLUMNS, rows, places)


def _lines(path: Path) -> list[_Line]:
    raw = [(number, line.rstrip(string.whitespace)) for number, line in lines(path)]
    filled = [line for _, line in raw if line]
    by_tabs = sum("\t" in line for line in filled) * 2 > len(filled)
    return [_Line(number, line, _fields(line, by_tabs=by_tabs)) for number, line in raw]


def _fields(line: str, *, by_tabs: bool) -> tuple[str, ...]:
    if not line:
        return ()
    # Not str.split(): a no-break space belongs to its word.
    parts = re.split(r"\t+", line) if by_tabs else re.split(r"[ \t]+", line.lstrip(" \t"))
    return tuple(part.strip(" ") for part in parts)


def _width(path: Path, words: Sequence[_Line]) -> int:
    """How many columns the lines have, or nearly all of them."""
    width = Counter(len(line.fields) for line in words).most_common(1)[0][0]
    first = next(line for line in words if len(line.fields) == width)
    if width == 1:
        raise _without_tag(path, first)
    if width > MOST_COLUMNS:
        raise DataError(
            f"{path}:{first.number}: {width} columns, and 2 to {MOST_COLUMNS} are read, the first of which is the word "
            "and the last its tag; leave out the others"
        )
    return width


def _sentences(found: Sequence[_Line], width: int, tags: set[str]) -> Iterator[tuple[list[_Line], int | None]]:
    """Yield the lines of each sentence with the number of its document."""
    document: int | None = None
    sentence: list[_Line] = []
    for line in found:
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
        raise _without_tag(path, line)
    if len(line.fields) != width:
        raise DataError(
            f"{path}:{line.number}: {len(line.fields)} columns where other lines have {width}; give each line the same "
            "columns, and put a blank line between two sentences"
        )


def _without_tag(path: Path, line: _Line) -> DataError:
    return DataError(
        f"{path}:{line.number}: the word {line.text!r:.60} has no tag; write its tag behind it, after a tab or a "
        "blank as in the other lines"
    )
