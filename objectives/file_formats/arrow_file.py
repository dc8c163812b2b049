"""Parquet files, and Arrow IPC files (Feather among them) and streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoopt.objectives.file_formats import FileFormat
from autoopt.objectives.tables.class_labels import schema_class_names, with_class_names
from autoopt.objectives.tables.table import MAX_FILE_BYTES, Table
from autoopt.strategies.errors import DataError


def read_parquet(path: Path) -> Table:
    """Read all columns, with the names of classes in the schema. Raises ``DataError``."""
    with _arrow_errors_reported(path, "parquet"):
        return _table(path, _open_parquet(path).read())


def parquet_batches(path: Path, size: int) -> Iterator[Table]:
    """Yield the rows of ``read_parquet`` in tables of at most ``size`` rows."""
    first = 1
    with _arrow_errors_reported(path, "parquet"):
        for batch in _open_parquet(path).iter_batches(size):
            yield _table(path, batch, first=first)
            first += batch.num_rows


def _open_parquet(path: Path) -> Any:
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path)
    _check_size(path, sum(file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups)))
    _check_names(path, file.schema_arrow.names)
    return file


def read_arrow(path: Path) -> Table:
    """Read all record batches of an IPC file or stream, compressed or not, with the names of classes in the schema.

    Raises ``DataError``.
    """
    import pyarrow

    with _arrow_errors_reported(path, "Arrow"), pyarrow.OSFile(str(path), "rb") as source:
        reader = _open_arrow(path, source)
        return _table(path, pyarrow.Table.from_batches(_record_batches(path, reader), reader.schema))


def arrow_batches(path: Path, size: int) -> Iterator[Table]:
    """Yield the rows of ``read_arrow`` in tables of at most ``size`` rows."""
    import pyarrow

    first = 1
    with _arrow_errors_reported(path, "Arrow"), pyarrow.OSFile(str(path), "rb") as source:
        for batch in _record_batches(path, _open_arrow(path, source)):
            for start in range(0, batch.num_rows, size):
                part = batch.slice(start, size)
                yield _table(path, part, first=first)
                first += part.num_rows


def _open_arrow(path: Path, source: Any) -> Any:
    import pyarrow

    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    reader = pyarrow.ipc.open_file(source) if is_file else pyarrow.ipc.open_stream(source)
    _check_names(path, reader.schema.names)
    return reader


def _record_batches(path: Path, reader: Any) -> Iterator[Any]:
    """Yield the validated record batches of a file or a stream."""
    is_file = hasattr(reader, "get_batch")
    size = 0
    for batch in map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader:
        batch.validate(full=True)  # A damaged file may point anywhere in memory.
        size += batch.nbytes
        _check_size(path, size)
        yield batch


def _table(path: Path, columns: Any, *, first: int = 1) -> Table:
    rows = [list(row) for row in zip(*(column.to_pylist() for column in columns.columns), strict=True)]
    places = [f"{path}: row {number}" for number in range(first, first + len(rows))]
    table = Table(str(path), tuple(columns.schema.names), rows, places)
    return with_class_names(table, schema_class_names(columns.schema.metadata))


def _check_size(path: Path, size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise DataError(f"{path} unpacks to {size:,} bytes; at most {MAX_FILE_BYTES:,} are read: take a sample of it")


def _check_names(path: Path, names: Sequence[str]) -> None:
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise DataError(f"{path}: the column '{duplicates[0]}' occurs more than once; rename one of them")


@contextmanager
def _arrow_errors_reported(path: Path, kind: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        first = (str(error).splitlines() or ["it is damaged"])[0]
        raise DataError(f"{path} cannot be read as {kind}: {first}; write it again, or give csv or jsonl") from None


def _example_table() -> Any:
    import pyarrow

    return pyarrow.table({"text": ["Chelsea won the cup", "shares fell"], "label": ["sport", "business"]})


def _parquet_example() -> bytes:
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(_example_table(), sink)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _arrow_example() -> bytes:
    import pyarrow

    sink, table = pyarrow.BufferOutputStream(), _example_table()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


PARQUET = FileFormat(
    suffixes=(".parquet",), read=read_parquet, batches=parquet_batches, example=_parquet_example, is_text=False
)
ARROW = FileFormat(
    suffixes=(".arrow", ".feather"), read=read_arrow, batches=arrow_batches, example=_arrow_example, is_text=False
)
