"""CSV and TSV files: each record with the line on which it begins."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from autoopt.objectives.file_formats import FileFormat
from autoopt.objectives.tables.gzip_file import format_suffix
from autoopt.objectives.tables.table import MAX_CHARACTERS, Table
from autoopt.objectives.tables.text_lines import lines
from autoopt.strategies.errors import DataError

_BATCH = 1000
"""Records parsed at a time."""


def read_csv(path: Path) -> Table:
    """Read a file with a header, tab-separated if it is ``.tsv``, else comma-separated. Raises ``DataError``."""
    records = _records(path)
    return _table(path, _header(path, records), records)


def csv_batches(path: Path, size: int) -> Iterator[Table]:
    """Yield the rows of ``read_csv`` in tables of at most ``size`` rows."""
    records = _records(path)
    columns = _header(path, records)
    while batch := list(islice(records, size)):
        yield _table(path, columns, batch)


def _table(path: Path, columns: tuple[str, ...], records: Iterable[tuple[int, list[str]]]) -> Table:
    rows, places = [], []
    for number, record in records:
        if not record:
            continue  # An empty line.
        if len(record) != len(columns):
            raise DataError(
                f"{path}:{number}: {len(record)} fields where the header has {len(columns)}; "
                "put quotes around a text that contains the delimiter"
            )
        rows.append(record)
        places.append(f"{path}:{number}")
    return Table(str(path), columns, rows, places)


def _header(path: Path, records: Iterator[tuple[int, list[str]]]) -> tuple[str, ...]:
    _, names = next(records, (0, []))
    columns = tuple(name.strip() for name in names)
    if not any(columns):
        raise DataError(f"{path}:1: the first line is empty; it must name the columns")
    duplicates = sorted({name for name in columns if columns.count(name) > 1})
    if duplicates:
        raise DataError(f"{path}:1: the header has the column '{duplicates[0]}' more than once; rename one of them")
    if len(columns) == 1 and ";" in columns[0]:
        raise DataError(f"{path}:1: the columns are separated by ';'; save the file with commas, or as .tsv with tabs")
    return columns


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line on which it begins."""
    is_tsv = format_suffix(path) == ".tsv"
    feed = _LineFeed(path)
    # In a TSV file a quote is an ordinary character, so that none can be left unclosed.
    parser = csv.reader(feed, csv.excel_tab, quoting=csv.QUOTE_NONE) if is_tsv else csv.reader(feed, strict=True)
    while batch := _next_batch(path, feed, parser):
        for number, record in batch:
            yield number, [_unquoted(field) for field in record] if is_tsv else record


def _next_batch(path: Path, feed: _LineFeed, parser: Iterator[list[str]]) -> list[tuple[int, list[str]]]:
    """Parse some records, with the field size limit, which is global to the process, raised in the meantime."""
    batch = []
    usual_limit = csv.field_size_limit(MAX_CHARACTERS)
    try:
        for record in islice(parser, _BATCH):
            batch.append((feed.first_line, record))
            feed.start_record()
    except csv.Error as error:
        raise DataError(
            f"{path}:{feed.first_line}: {error} in the record that begins here; close the quote, or double a quote "
            "that belongs to the text"
        ) from None
    finally:
        csv.field_size_limit(usual_limit)
    return batch


class _LineFeed:
    """Feeds lines to the CSV parser. Raises ``DataError`` once a record is longer than ``MAX_CHARACTERS``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = lines(path)
        self.start_record()

    def start_record(self) -> None:
        self.first_line = 0
        self._characters = 0

    def __iter__(self) -> _LineFeed:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        self.first_line = self.first_line or number
        self._characters += len(line)
        if self._characters > MAX_CHARACTERS:
            raise DataError(
                f"{self._path}:{self.first_line}: the record that begins here is longer than {MAX_CHARACTERS:,} "
                "characters; a quote in it is not closed: close it, or double a quote that belongs to the text"
            )
        return line


def _unquoted(field: str) -> str:
    """Undo the quoting of spreadsheets: TSV fields that contain quotes are quoted, and these quotes doubled."""
    if len(field) >= 2 and field[0] == field[-1] == '"':
        inner = field[1:-1]
        if '"' not in inner.replace('""', ""):
            return inner.replace('""', '"')
    return field


CSV = FileFormat(
    suffixes=(".csv",),
    read=read_csv,
    batches=csv_batches,
    example=lambda: b"text,label\nChelsea won the cup,sport\nshares fell,business\n",
)
TSV = FileFormat(
    suffixes=(".tsv",),
    read=read_csv,
    batches=csv_batches,
    example=lambda: b"text\tlabel\nChelsea won the cup\tsport\nshares fell\tbusiness\n",
)
