"""File formats, one a file: this folder is their registry.

A module that defines a ``FileFormat`` adds a format; nothing else is edited to add one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from autoopt.objectives.tables.bad_rows import check_bad_rows
from autoopt.objectives.tables.gzip_file import SUFFIX as GZIP
from autoopt.objectives.tables.gzip_file import format_suffix
from autoopt.objectives.tables.table import Table
from autoopt.strategies.errors import DataError

UNSUPPORTED = frozenset({".xlsx", ".zip"})
"""Suffixes of data files that cannot be read."""

_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class FileFormat:
    """A kind of data file, told by the suffix of its name."""

    suffixes: tuple[str, ...]
    """In lower case, with the dot."""
    read: Callable[[Path], Table]
    """Called with a path that ends in one of the suffixes. Raises ``DataError`` with the place and the remedy."""
    example: Callable[[], bytes]
    """Return the content of a valid file, which the contract tests read."""
    is_text: bool = True
    """Whether it is read through ``text_lines``, and so may be gzipped: ``a.csv.gz``."""
    batches: Callable[[Path, int], Iterator[Table]] | None = None
    """Yields the rows of ``read`` in tables of a size, in bounded memory; None if only the whole file can be read."""


def formats() -> Mapping[str, FileFormat]:
    """Return the format of each suffix."""
    by_suffix: dict[str, FileFormat] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if not isinstance(value, FileFormat):
                continue
            duplicates = sorted(by_suffix.keys() & set(value.suffixes))
            if duplicates:
                raise TypeError(
                    f"{module.__name__} defines a second format for {duplicates[0]}; a suffix has one format"
                )
            by_suffix.update(dict.fromkeys(value.suffixes, value))
    return by_suffix


def read(path: Path) -> Table:
    """Read a file by its suffix. Raises ``DataError``, also for a file without rows or with rows that are bad."""
    table = read_usable(path)
    check_bad_rows(table.bad_rows, len(table.rows) + len(table.bad_rows), tolerate=0, source=str(path))
    return table


def read_usable(path: Path) -> Table:
    """Read a file as ``read`` does, but leave out bad rows: the caller must look at ``bad_rows``."""
    with os_errors_reported(path):
        table = _format_of(path).read(path)
    if not table.rows and not table.bad_rows:
        raise DataError(f"{path} has a header and no rows; it needs at least one row for each class")
    return table


def read_batches(path: Path, size: int) -> Iterator[Table]:
    """Yield the rows of ``read`` in tables of at most ``size`` rows, in bounded memory where the format allows it.

    A column that is first filled in a later row of JSON Lines is missing from earlier tables. Raises ``DataError``.
    """
    is_empty = True
    with os_errors_reported(path):
        file_format = _format_of(path)
        for table in file_format.batches(path, size) if file_format.batches else _parts(read(path), size):
            check_bad_rows(table.bad_rows, len(table.rows) + len(table.bad_rows), tolerate=0, source=str(path))
            for part in _parts(table, size):
                is_empty = False
                yield part
    if is_empty:
        raise DataError(f"{path} has a header and no rows")


def _parts(table: Table, size: int) -> Iterator[Table]:
    for start in range(0, len(table.rows), size):
        part = slice(start, start + size)
        yield replace(table, rows=table.rows[part], places=table.places[part])


def is_data_file(name: str) -> bool:
    """Return whether a name can only be that of a data file, by its suffix."""
    return format_suffix(Path(name)) in {*formats(), *UNSUPPORTED} or Path(name).suffix.lower() == GZIP


@contextmanager
def os_errors_reported(path: Path) -> Iterator[None]:
    """Raise ``OSError`` as ``DataError`` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check its owner and its disk") from None


def _format_of(path: Path) -> FileFormat:
    by_suffix = formats()
    suffix = format_suffix(path)
    if suffix not in by_suffix or not path.is_file():
        raise DataError(f"{path} has an unsupported format; convert it to one of {', '.join(sorted(by_suffix))}")
    if path.suffix.lower() == GZIP and not by_suffix[suffix].is_text:
        raise DataError(f"{path}: {suffix} is compressed itself and is not read out of {GZIP}; unpack the file")
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise DataError(f"{path} is a pointer of Git LFS and holds no data; run 'git lfs pull' in its folder")
    return by_suffix[suffix]
