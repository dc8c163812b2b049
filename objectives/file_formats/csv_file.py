"""CSV and TSV files: each record with the line on which it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from autoopt.objectives.file_formats import FileFormat
from autoopt.objectives.file_formats.conll import is_conll, read_conll
from autoopt.objectives.tables.csv_records import csv_records
from autoopt.objectives.tables.gzip_file import format_suffix
from autoopt.objectives.tables.table import Table
from autoopt.objectives.tables.tsv_records import tsv_records
from autoopt.strategies.errors import DataError


def read_csv(path: Path) -> Table:
    """Read a file with a header, tab-separated if it is ``.tsv``, else comma-separated. Raises ``DataError``.

    Empty lines, and columns without a name and a value at the end of all lines, come from spreadsheets and are dropped.
    """
    bad: list[str] = []
    records = _records(path, bad.append)
    columns = _header(path, records)
    rows, places = _rows(path, columns, records, bad.append)
    return Table(str(path), columns, rows, places, bad_rows=tuple(bad))


def read_tsv(path: Path) -> Table:
    """Read a table, or a CoNLL file, which has no header. Raises ``DataError``."""
    return read_conll(path) if is_conll(path) else read_csv(path)


def csv_batches(path: Path, size: int) -> Iterator[Table]:
    """Yield the rows of ``read_csv`` in tables made of at most ``size`` records."""
    bad: list[str] = []
    records = _records(path, bad.append)
    columns = _header(path, records)
    while batch := list(islice(records, size)):
        rows, places = _rows(path, columns, batch, bad.append)
        yield Table(str(path), columns, rows, places, bad_rows=tuple(bad))
        bad.clear()
    if bad:
        yield Table(str(path), columns, [], [], bad_rows=tuple(bad))


def tsv_batches(path: Path, size: int) -> Iterator[Table]:
    """Yield the rows of ``read_tsv`` in tables made of at most ``size`` records; a CoNLL file as a whole."""
    if is_conll(path):
        yield read_conll(path)
    else:
        yield from csv_batches(path, size)


def _rows(
    path: Path, columns: tuple[str, ...], records: Iterable[tuple[int, list[str]]], reject: Callable[[str], None]
) -> tuple[list[list[str]], list[str]]:
    """Return the rows and their places. ``reject`` is called with the message of a record of another length."""
    rows: list[list[str]] = []
    places: list[str] = []
    for number, record in records:
        if not record or (len(columns) > 1 and not any(map(str.strip, record))):
            continue
        fields = record[: len(columns)]
        if len(fields) < len(columns) or any(field.strip() for field in record[len(columns) :]):
            reject(f"{path}:{number}: {len(record)} fields where the header has {len(columns)}; {_remedy(path)}")
            continue
        rows.append(fields)
        places.append(f"{path}:{number}")
    return rows, places


def _records(path: Path, reject: Callable[[str], None]) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line on which it begins."""
    return (tsv_records if format_suffix(path) == ".tsv" else csv_records)(path, reject)


def _remedy(path: Path) -> str:
    if format_suffix(path) == ".tsv":
        return "put quotes around a text that contains a tab or a line end, and double the quotes within it"
    return "put quotes around a text that contains the delimiter"


def _header(path: Path, records: Iterator[tuple[int, list[str]]]) -> tuple[str, ...]:
    _, names = next(records, (0, []))
    columns = tuple(name.strip() for name in names)
    if not any(columns):
        raise DataError(f"{path}:1: the first line is empty; it must name the columns")
    while not columns[-1]:
        columns = columns[:-1]
    duplicates = sorted({name for name in columns if columns.count(name) > 1})
    if duplicates:
        raise DataError(f"{path}:1: the header has the column '{duplicates[0]}' more than once; rename one of them")
    if len(columns) == 1 and ";" in columns[0]:
        raise DataError(f"{path}:1: the columns are separated by ';'; save the file with commas, or as .tsv with tabs")
    return columns


CSV = FileFormat(
    suffixes=(".csv",),
    read=read_csv,
    batches=csv_batches,
    example=lambda: b"text,label\nChelsea won the cup,sport\nshares fell,business\n",
)
TSV = FileFormat(
    suffixes=(".tsv",),
    read=read_tsv,
    batches=tsv_batches,
    example=lambda: b"text\tlabel\nChelsea won the cup\tsport\nshares fell\tbusiness\n",
)
