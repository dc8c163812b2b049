"""Arrow's own formats: parquet, and Arrow IPC as a file (which feather is) or as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoopt.objectives.file_formats.table import MAX_FILE_BYTES, Table
from autoopt.strategies.errors import DataError


def read_parquet(path: Path) -> Table:
    """Read all columns. Raises ``DataError``."""
    import pyarrow.parquet

    with _explained(path, "parquet"):
        file = pyarrow.parquet.ParquetFile(path)
        _check_size(path, sum(file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups)))
        _check_names(path, file.schema_arrow.names)
        return _table(path, file.read())


def read_arrow(path: Path) -> Table:
    """Read all record batches of an IPC file or of a stream, packed or not. Raises ``DataError``."""
    import pyarrow

    with _explained(path, "Arrow"), pyarrow.OSFile(str(path), "rb") as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        reader = pyarrow.ipc.open_file(source) if is_file else pyarrow.ipc.open_stream(source)
        _check_names(path, reader.schema.names)
        numbers = range(reader.num_record_batches) if is_file else None
        batches, size = [], 0
        for batch in reader if numbers is None else map(reader.get_batch, numbers):
            batch.validate(full=True)  # A damaged file may point anywhere in memory.
            size += batch.nbytes
            _check_size(path, size)
            batches.append(batch)
        return _table(path, pyarrow.Table.from_batches(batches, reader.schema))


def _table(path: Path, columns: Any) -> Table:
    rows = [list(row) for row in zip(*(column.to_pylist() for column in columns.columns), strict=True)]
    places = [f"{path}: row {number}" for number in range(1, len(rows) + 1)]
    return Table(str(path), tuple(columns.column_names), rows, places)


def _check_size(path: Path, size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise DataError(f"{path} unpacks to {size:,} bytes; at most {MAX_FILE_BYTES:,} are read: take a sample of it")


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the column '{twice[0]}' occurs more than once; rename one of them")


@contextmanager
def _explained(path: Path, kind: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        first = (str(error).splitlines() or ["it is damaged"])[0]
        raise DataError(f"{path} cannot be read as {kind}: {first}; write it again, or give csv or jsonl") from None
