"""The lines of a text file: UTF-8 or nothing, in bounded memory, each with its number."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from autoopt.objectives.table import MAX_CHARACTERS, MAX_FILE_BYTES
from autoopt.strategies.errors import DataError

_MARK = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line with its number from 1 and its line end; a byte order mark is dropped, any line end is taken.

    Raises ``DataError`` with byte offset and line for what is not UTF-8, for NUL and for a line that is far too long.
    """
    number, offset = 0, 0
    _check_size(path)
    with path.open("rb") as file:
        while raw := file.readline(MAX_CHARACTERS + 1):
            if len(raw) > MAX_CHARACTERS:
                raise DataError(
                    f"{path}:{number + 1}: the line is longer than {MAX_CHARACTERS:,} bytes; shorten or split it"
                )
            text = decode(raw, path=path, line=number + 1, offset=offset)
            offset += len(raw)
            for line in io.StringIO(text, newline=""):
                number += 1
                yield number, line


def whole_text(path: Path) -> str:
    """Return a whole small file; raises ``DataError`` as ``lines`` does."""
    if path.stat().st_size > MAX_CHARACTERS:
        raise DataError(
            f"{path} is longer than {MAX_CHARACTERS:,} bytes; one file is one text here: shorten or split it"
        )
    raw = path.read_bytes()
    try:
        return decode(raw, path=path, line=1, offset=0)
    except DataError:
        for line in raw.splitlines(keepends=True):  # Once more by line, for the place of the error.
            decode(line, path=path, line=raw[: raw.index(line)].count(b"\n") + 1, offset=raw.index(line))
        raise


def decode(raw: bytes, *, path: Path, line: int, offset: int) -> str:
    """Return the text of ``raw``, which stands at ``offset`` in the file."""
    if offset == 0:
        if raw.startswith(_UTF16):
            raise DataError(f"{path}:1: byte 0 begins a UTF-16 file; save it as UTF-8")
        raw, offset = raw.removeprefix(_MARK), offset + (len(_MARK) if raw.startswith(_MARK) else 0)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        raise DataError(
            f"{path}:{line}: byte {offset + error.start:,} (0x{byte:02x}) is not UTF-8; save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise DataError(
            f"{path}:{line}: byte {offset + raw.index(0):,} is NUL; this is no text file, or it is UTF-16: "
            "save it as UTF-8"
        )
    return text


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path} is empty; it must hold a header and at least one row for each class")
    if size > MAX_FILE_BYTES:
        raise DataError(f"{path} has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read: take a sample of it")
