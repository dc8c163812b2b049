"""Bytes of a data file, decompressed if it is gzipped, within bounds against decompression bombs."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from autoopt.objectives.tables.table import MAX_FILE_BYTES
from autoopt.strategies.errors import DataError

SUFFIX = ".gz"
MAX_RATIO = 200
"""Maximum compression ratio. Text compresses 3 to 10 times; 200 times is an attempt to fill the memory."""
_UNCHECKED_BYTES = 10_000_000
"""The ratio is not checked below this size: a short file may be one line repeated."""
_BLOCK = 1 << 20


def format_suffix(path: Path) -> str:
    """Return the suffix that tells the format, in lower case: ``.csv`` for ``a.csv`` and for ``A.CSV.gz``."""
    name = path.with_suffix("") if path.suffix.lower() == SUFFIX else path
    return name.suffix.lower()


@contextmanager
def open_decompressed(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, decompressed if its name ends in ``.gz``.

    A gzipped file is first read to its end in constant memory. Raises ``DataError`` if it is not gzip, is truncated or
    damaged, or exceeds ``MAX_FILE_BYTES`` or ``MAX_RATIO``.
    """
    if path.suffix.lower() != SUFFIX:
        with path.open("rb") as file:
            yield file
        return
    with path.open("rb") as packed:
        if packed.read(2) != b"\x1f\x8b":
            raise DataError(f"{path}: byte 0 begins no gzip file; remove {SUFFIX} from its name, or pack it again")
    decompressed_size(path)
    with gzip.open(path) as unpacked:
        yield unpacked  # type: ignore[misc]


def decompressed_size(path: Path) -> int:
    """Read a gzipped file to its end and return its size in bytes. Raises ``DataError`` as ``open_decompressed``."""
    size, line = 0, 1
    try:
        with path.open("rb") as packed, gzip.GzipFile(fileobj=packed) as file:
            while block := file.read1(_BLOCK):
                size += len(block)
                line += block.count(b"\n")
                _check_size(path, size, packed.tell())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}:{line}: the gzip file is cut short or damaged here, after {size:,} bytes unpacked ({error}); "
            "copy it or pack it again"
        ) from None
    return size


def _check_size(path: Path, size: int, packed: int) -> None:
    if size > MAX_FILE_BYTES:
        raise DataError(f"{path} unpacks to more than {MAX_FILE_BYTES:,} bytes, the maximum: take a sample of it")
    if size > _UNCHECKED_BYTES and size > MAX_RATIO * packed:
        raise DataError(
            f"{path} unpacks to more than {MAX_RATIO} times its size, as no text does; unpack it yourself if you "
            "trust it"
        )
