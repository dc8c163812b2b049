"""Write answers row by row into a file in the format of its name."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO, TypeAlias

from autoopt.objectives.tables.gzip_file import SUFFIX as GZIP
from autoopt.objectives.tables.gzip_file import format_suffix
from autoopt.strategies.errors import DataError, UsageError
from autoopt.strategies.system.files import whole_file

Rows: TypeAlias = Sequence[Mapping[str, Any]]
Write: TypeAlias = Callable[[Rows], None]


def check_output(path: Path, *, source: Path | None, force: bool) -> None:
    """Raise ``UsageError`` if answers cannot be written there: its format, an existing file, or the input itself."""
    suffix = format_suffix(path)
    if suffix not in WRITERS or (path.suffix.lower() == GZIP and suffix not in _TEXT):
        raise UsageError(f"{path} has a format that is not written; let its name end in {', '.join(WRITERS)}")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise UsageError(f"{path} is the file that is read; give another one for --output")
    if path.is_dir() or (path.exists() and not force):
        raise UsageError(f"{path} exists; give another file, or --force to replace it")


@contextmanager
def writer(path: Path) -> Iterator[Write]:
    """Yield a function that writes some rows; the file is at ``path`` once the block has ended without an error.

    All rows have the columns of the first ones; a text format writes lists and objects as JSON. Raises ``DataError``
    for a row that does not fit.
    """
    suffix = format_suffix(path)
    with whole_file(path) as work:
        if suffix in _TEXT:
            with _open_text(work, packed=path.suffix.lower() == GZIP) as file, _TEXT[suffix](file) as write:
                yield write
        else:
            with _arrow(work, is_parquet=suffix == ".parquet") as write:
                yield write


@contextmanager
def _open_text(path: Path, *, packed: bool) -> Iterator[TextIO]:
    with path.open("wb") as raw:
        binary = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) if packed else raw
        with io.TextIOWrapper(binary, encoding="utf-8", newline="") as text:
            yield text


@contextmanager
def _csv(file: TextIO, dialect: type[csv.Dialect] = csv.excel) -> Iterator[Write]:
    columns: list[str] = []
    writing = csv.writer(file, dialect, lineterminator="\n")

    def write(rows: Rows) -> None:
        if not columns and rows:
            columns.extend(rows[0])
            writing.writerow(columns)
        for row in rows:
            _check_columns(row, columns)
            writing.writerow([_cell(row.get(name)) for name in columns])

    yield write


@contextmanager
def _tsv(file: TextIO) -> Iterator[Write]:
    with _csv(file, csv.excel_tab) as write:
        yield write


@contextmanager
def _json_lines(file: TextIO) -> Iterator[Write]:
    def write(rows: Rows) -> None:
        file.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)

    yield write


@contextmanager
def _json(file: TextIO) -> Iterator[Write]:
    separators = iter(["[\n"])

    def write(rows: Rows) -> None:
        for row in rows:
            file.write(next(separators, ",\n") + json.dumps(row, ensure_ascii=False, default=str))

    yield write
    file.write(next(separators, "\n") + "]\n")


@contextmanager
def _arrow(path: Path, *, is_parquet: bool) -> Iterator[Write]:
    opened = _ArrowFile(path, is_parquet=is_parquet)
    try:
        yield opened.write
    finally:
        opened.close()


class _ArrowFile:
    """A Parquet or Arrow file with the columns and types of the first rows that are written to it."""

    def __init__(self, path: Path, *, is_parquet: bool) -> None:
        self._path, self._is_parquet = path, is_parquet
        self._file: Any = None
        self._schema: Any = None

    def write(self, rows: Rows) -> None:
        import pyarrow
        import pyarrow.parquet

        if self._file is None and rows:
            self._schema = _complete(pyarrow.Table.from_pylist(list(rows)).schema)
            open_file = pyarrow.parquet.ParquetWriter if self._is_parquet else pyarrow.ipc.new_file
            self._file = open_file(str(self._path), self._schema)
        for row in rows:
            _check_columns(row, self._schema.names)
        if rows:
            self._file.write_table(_table(rows, self._schema))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _complete(schema: Any) -> Any:
    """Return a schema with types for what the first rows leave open: no entity yet, no value, an object of nothing."""
    import pyarrow

    entity = {"type": pyarrow.string(), "text": pyarrow.string(), "start": pyarrow.int64(), "end": pyarrow.int64()}
    fields = []
    for field in schema:
        if field.name == "predicted_entities":
            kind = pyarrow.list_(pyarrow.struct({**entity, "score": pyarrow.float64()}))
        elif pyarrow.types.is_struct(field.type) and field.type.num_fields == 0:
            continue  # Parquet cannot hold it.
        else:
            kind = pyarrow.string() if pyarrow.types.is_null(field.type) else field.type
        fields.append(pyarrow.field(field.name, kind))
    return pyarrow.schema(fields)


def _table(rows: Rows, schema: Any) -> Any:
    import pyarrow

    columns = []
    for field in schema:
        try:
            columns.append(pyarrow.array([row.get(field.name) for row in rows], type=field.type))
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
            raise DataError(
                f"the column '{field.name}' holds {field.type} in the first rows and something else later ({error}); "
                "let the name of --output end in .jsonl, which takes both"
            ) from None
    return pyarrow.Table.from_arrays(columns, schema=schema)


def _check_columns(row: Mapping[str, Any], columns: Sequence[str]) -> None:
    new = next((name for name in row if name not in columns and row[name] not in (None, {})), None)
    if new is not None:
        raise DataError(
            f"the column '{new}' occurs in a later row only, and a table needs all columns in its first one; let the "
            "name of --output end in .jsonl"
        )


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict | bool):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


_TEXT: Mapping[str, Callable[[TextIO], Any]] = MappingProxyType(
    {".csv": _csv, ".tsv": _tsv, ".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json}
)
WRITERS = (*_TEXT, ".parquet", ".arrow", ".feather")
"""Suffixes of the formats that are written; those of text may be followed by ``.gz``."""
