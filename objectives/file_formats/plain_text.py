"""Plain text files: a row for each line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from autoopt.objectives.file_formats import FileFormat
from autoopt.objectives.file_formats.conll import is_conll, read_conll
from autoopt.objectives.tables.table import TEXT_COLUMN, Table
from autoopt.objectives.tables.text_lines import lines


def read_text(path: Path) -> Table:
    r"""Return every line with ``\n`` at its end, which tells a line of a text from a whole text.

    Blank lines are rows too, unless the file has no others. A CoNLL file is read as one. Raises ``DataError``.
    """
    if is_conll(path):
        return read_conll(path)
    table = _table(path, lines(path))
    return table if any(str(row[0]).strip() for row in table.rows) else replace(table, rows=[], places=[])


def text_batches(path: Path, size: int) -> Iterator[Table]:
    """Yield the rows of ``read_text`` in tables of at most ``size`` lines; a CoNLL file as a whole."""
    if is_conll(path):
        yield read_conll(path)
        return
    numbered = lines(path)
    while batch := list(islice(numbered, size)):
        yield _table(path, batch)


def _table(path: Path, numbered: Iterable[tuple[int, str]]) -> Table:
    texts, places = [], []
    for number, line in numbered:
        content = line.rstrip("\r\n")
        texts.append(line if line == content else f"{content}\n")
        places.append(f"{path}:{number}")
    return Table(str(path), (TEXT_COLUMN,), [[text] for text in texts], places)


PLAIN_TEXT = FileFormat(
    suffixes=(".txt",), read=read_text, batches=text_batches, example=lambda: b"Chelsea won the cup\nshares fell\n"
)
