"""Numbered lines of a UTF-8 text file, read in bounded memory."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from autoopt.objectives.tables.gzip_file import open_decompressed
from autoopt.objectives.tables.table import MAX_CHARACTERS, MAX_FILE_BYTES
from autoopt.strategies.errors import DataError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SIGNATURES: Mapping[bytes, str] = MappingProxyType(
    {
        b"\xff\xfe": "a UTF-16 file; save it as UTF-8",
        b"\xfe\xff": "a UTF-16 file; save it as UTF-8",
        b"\x1f\x8b": "a file packed with gzip; let its name end in .gz",
        b"PK\x03\x04": "a zip archive or a spreadsheet; save the table in it as csv",
        b"PAR1\x15": "a parquet file; let its name end in .parquet",
        b"ARROW1\0\0": "an Arrow file; let its name end in .arrow",
        b"\x80\x02": "a pickle, which is never read; save the data as csv or jsonl",
        b"\x80\x03": "a pickle, which is never read; save the data as csv or jsonl",
        b"\x80\x04": "a pickle, which is never read; save the data as csv or jsonl",
        b"\x80\x05": "a pickle, which is never read; save the data as csv or jsonl",
    }
)
"""File types by their first bytes, with the remedy."""


def lines(path: Path, *, undecodable: dict[int, str] | None = None) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of each line with its line end; a byte order mark is dropped.

    A file whose name ends in ``.gz`` is decompressed. Raises ``DataError`` with byte offset and line for bytes that
    are not UTF-8, for NUL, and for a line longer than ``MAX_CHARACTERS``. Given ``undecodable``, only the first line
    must be UTF-8: the message of any other is stored there by its number, and the line has replacement characters.
    """
    number, offset = 0, 0
    _check_size(path)
    with open_decompressed(path) as file:
        while raw := file.readline(MAX_CHARACTERS + 1):
            if len(raw) > MAX_CHARACTERS:
                raise DataError(
                    f"{path}:{number + 1}: the line is longer than {MAX_CHARACTERS:,} bytes; shorten or split it"
                )
            try:
                text = decode(raw, path=path, line=number + 1, offset=offset)
            except DataError as error:
                if undecodable is None or offset == 0:
                    raise
                undecodable[number + 1] = str(error)
                text = raw.decode("utf-8", errors="replace").replace("\0", "\ufffd")
            offset += len(raw)
            for line in io.StringIO(text, newline="") if "\r" in text else (text,):
                number += 1
                yield number, line
    if offset == 0:
        raise _empty(path)


def read_text_file(
    path: Path, *, max_bytes: int = MAX_CHARACTERS, remedy: str = "one file is one text here: split it"
) -> str:
    """Return the text of a file of at most ``max_bytes``. Raises ``DataError`` as ``lines`` does."""
    raw = b""
    is_too_long = path.stat().st_size > max_bytes
    if not is_too_long:
        with open_decompressed(path) as file:
            raw = file.read(max_bytes + 1)
    if is_too_long or len(raw) > max_bytes:
        raise DataError(f"{path} is longer than {max_bytes:,} bytes; {remedy}")
    return decode(raw, path=path, line=1, offset=0)


def decode(raw: bytes, *, path: Path, line: int, offset: int) -> str:
    """Return ``raw`` as text. ``offset`` and ``line`` are where it begins in the file, for messages."""
    if offset == 0:
        for signature, description in _SIGNATURES.items():
            if raw.startswith(signature):
                raise DataError(f"{path}:1: byte 0 begins {description}")
        if raw.startswith(_BYTE_ORDER_MARK):
            raw, offset = raw.removeprefix(_BYTE_ORDER_MARK), len(_BYTE_ORDER_MARK)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte, place = raw[error.start], _place(path, line, raw, error.start)
        raise DataError(
            f"{place}: byte {offset + error.start:,} (0x{byte:02x}) is not UTF-8; save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise DataError(
            f"{_place(path, line, raw, raw.index(0))}: byte {offset + raw.index(0):,} is NUL; this is no text file, or "
            "it is UTF-16: save it as UTF-8"
        )
    return text


def _place(path: Path, line: int, raw: bytes, position: int) -> str:
    return f"{path}:{line + raw.count(10, 0, position)}"


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if size == 0:
        raise _empty(path)
    if size > MAX_FILE_BYTES:
        raise DataError(f"{path} has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read: take a sample of it")


def _empty(path: Path) -> DataError:
    return DataError(f"{path} is empty; it must hold a header and at least one row for each class")
