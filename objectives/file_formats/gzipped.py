"""The bytes of a data file, unpacked where it is packed with gzip, and never more of them than is allowed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from autoopt.objectives.file_formats.table import MAX_FILE_BYTES
from autoopt.strategies.errors import DataError

SUFFIX = ".gz"
MAX_RATIO = 200
"""Text is packed to a third or a tenth. Who packs it two hundred times smaller means to fill the memory."""
_BELIEVED_BYTES = 10_000_000
"""Up to here any ratio is taken: a short file of one line, repeated, is no attack."""
_BLOCK = 1 << 20


def format_of(path: Path) -> str:
    """The suffix that tells the format, in lower case: ``.csv`` of ``a.csv`` and of ``A.CSV.gz``."""
    name = path.with_suffix("") if path.suffix.lower() == SUFFIX else path
    return name.suffix.lower()


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading its bytes, unpacked where its name ends in ``.gz``.

    A packed file is read once to its end before it is handed out, in constant memory. Raises ``DataError`` for one that
    is no gzip, is cut short or damaged, or unpacks to more than ``MAX_FILE_BYTES`` or than it can by honest means.
    """
    if path.suffix.lower() != SUFFIX:
        with path.open("rb") as file:
            yield file
        return
    with path.open("rb") as packed:
        if packed.read(2) != b"\x1f\x8b":
            raise DataError(f"{path}: byte 0 begins no gzip file; remove {SUFFIX} from its name, or pack it again")
    unpacked_size(path)
    with gzip.open(path) as unpacked:
        yield unpacked  # type: ignore[misc]


def unpacked_size(path: Path) -> int:
    """Read a packed file to its end and return how many bytes it holds. Raises ``DataError`` as ``opened`` does."""
    size, lines = 0, 1
    try:
        with path.open("rb") as packed, gzip.GzipFile(fileobj=packed) as file:
            while block := file.read1(_BLOCK):
                size += len(block)
                lines += block.count(b"\n")
                _check(path, size, packed.tell())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}:{lines}: the gzip file is cut short or damaged here, after {size:,} bytes unpacked ({error}); "
            "copy it or pack it again"
        ) from None
    return size


def _check(path: Path, size: int, packed: int) -> None:
    if size > MAX_FILE_BYTES:
        raise DataError(
            f"{path} unpacks to more than {MAX_FILE_BYTES:,} bytes, the most that are read: take a sample of it"
        )
    if size > _BELIEVED_BYTES and size > MAX_RATIO * packed:
        raise DataError(
            f"{path} unpacks to more than {MAX_RATIO} times its size, as no text does; unpack it yourself if you know "
            "what is in it"
        )
