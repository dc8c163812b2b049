"""Tables with a delimiter, csv and tsv: each record with the line on which it begins."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from autoopt.objectives.file_formats.gzipped import format_of
from autoopt.objectives.file_formats.table import MAX_CHARACTERS, Table
from autoopt.objectives.file_formats.text_lines import lines
from autoopt.strategies.errors import DataError

_AT_A_TIME = 1000


def read_csv(path: Path) -> Table:
    """Read a file with a header, separated by tabs where it is ``.tsv``, else by commas. Raises ``DataError``."""
    records = _records(path)
    columns = _header(path, records)
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
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{path}:1: the header has the column '{twice[0]}' more than once; rename one of them")
    if len(columns) == 1 and ";" in columns[0]:
        raise DataError(f"{path}:1: the columns are separated by ';'; save the file with commas, or as .tsv with tabs")
    return columns


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each record of a csv or tsv file with the line on which it begins."""
    tabs = format_of(path) == ".tsv"
    feed = _Feed(path)
    # In a tsv file a quote is a character like any other: it has no way to run away there.
    parser = csv.reader(feed, csv.excel_tab, quoting=csv.QUOTE_NONE) if tabs else csv.reader(feed, strict=True)
    while batch := _next_records(path, feed, parser):
        for number, record in batch:
            yield number, [_unquoted(field) for field in record] if tabs else record


def _next_records(path: Path, feed: _Feed, parser: Iterator[list[str]]) -> list[tuple[int, list[str]]]:
    """A few records at a time: the limit on a field's length is that of the whole process, and is put back."""
    batch = []
    before = csv.field_size_limit(MAX_CHARACTERS)
    try:
        for record in islice(parser, _AT_A_TIME):
            batch.append((feed.first_line, record))
            feed.start_record()
    except csv.Error as error:
        raise DataError(
            f"{path}:{feed.first_line}: {error} in the record that begins here; close the quote, or double a quote "
            "that belongs to the text"
        ) from None
    finally:
        csv.field_size_limit(before)
    return batch


class _Feed:
    """Hands lines to the csv parser, and stops it where one record swallows far too many of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = lines(path)
        self.start_record()

    def start_record(self) -> None:
        self.first_line = 0
        self._characters = 0

    def __iter__(self) -> _Feed:
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
    """Spreadsheets quote tsv fields that contain quotes, and double those."""
    if len(field) >= 2 and field[0] == field[-1] == '"':
        inner = field[1:-1]
        if '"' not in inner.replace('""', ""):
            return inner.replace('""', '"')
    return field
