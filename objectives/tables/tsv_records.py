"""Records of tab-separated lines, where a quote may be text or, as pandas and spreadsheets write it, a delimiter."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from autoopt.objectives.tables.table import MAX_CHARACTERS
from autoopt.objectives.tables.text_lines import lines

_QUOTE = '"'
MAX_LINES = 1000
"""Maximum number of lines of a quoted field. A quote that is not closed by then is text."""


def tsv_records(path: Path, reject: Callable[[str], None]) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line on which it begins. Raises ``DataError`` as ``lines`` does.

    A quote is an ordinary character, so that none can be left unclosed. Only where lines do not have the fields of the
    header, and a quoted field that holds tabs or line ends explains it, is it read as one. ``reject`` is called with
    the message of a record that is not UTF-8.
    """
    undecodable: dict[int, str] = {}
    ahead = _LinesAhead(lines(path, undecodable=undecodable))
    width = 0
    while ahead.fill(1):
        number, text = ahead.pending[0]
        fields = _plain_fields(text)
        width, used = width or len(fields), 1
        if any(map(_is_open, fields)):
            record, taken = _quoted_record(ahead, width)
            if record is not None:
                fields, used = record, taken
        problems = [undecodable[line] for line, _ in ahead.take(used) if line in undecodable]
        if problems:
            reject(problems[0])
        else:
            yield number, [_unquoted(field) for field in fields]


class _LinesAhead:
    """Lines that were read but not used yet, in ``pending``."""

    def __init__(self, source: Iterator[tuple[int, str]]) -> None:
        self._source = source
        self.pending: list[tuple[int, str]] = []

    def fill(self, count: int) -> bool:
        """Read until ``count`` lines are pending; return whether there are as many."""
        self.pending += islice(self._source, max(0, count - len(self.pending)))
        return len(self.pending) >= count

    def take(self, count: int) -> list[tuple[int, str]]:
        taken, self.pending = self.pending[:count], self.pending[count:]
        return taken


def _plain_fields(text: str) -> list[str]:
    content = text.rstrip("\r\n")
    return content.split("\t") if content else []


def _is_open(field: str) -> bool:
    """Return whether the field begins with a quote and does not end with the one that closes it."""
    return field.startswith(_QUOTE) and (len(field) == 1 or field.count(_QUOTE) % 2 == 1 or field[-1] != _QUOTE)


def _quoted_record(ahead: _LinesAhead, width: int) -> tuple[list[str] | None, int]:
    """Return the record of ``width`` fields, some of them quoted, that the pending lines begin, and its line count.

    None if there is no such record, or if all its lines have ``width`` fields as they are.
    """
    characters = 0
    for count in range(1, MAX_LINES + 1):
        if not ahead.fill(count):
            return None, 0
        line = ahead.pending[count - 1][1]
        characters += len(line)
        if characters > MAX_CHARACTERS or (count > 1 and _breaks(line)):
            return None, 0
        if _QUOTE not in line:
            continue  # Nothing closes here.
        taken = [text for _, text in ahead.pending[:count]]
        record = _parsed("".join(taken))
        if record is not None:
            explains = any(len(_plain_fields(text)) != width for text in taken)
            return (record, count) if len(record) == width and explains else (None, 0)
    return None, 0


def _breaks(line: str) -> bool:
    """Return whether the first quote of a line within a quoted field closes nothing and is not doubled."""
    rest = line.replace('""', "")
    after = rest.partition(_QUOTE)[2]
    return _QUOTE in rest and after[:1] not in ("", "\t", "\r", "\n")


def _parsed(text: str) -> list[str] | None:
    """Return the fields of one record with quoted fields; None if a quote is not closed or closes within a field."""
    try:
        records = list(csv.reader([text], csv.excel_tab, strict=True))
    except csv.Error:
        return None
    return records[0] if len(records) == 1 else None


def _unquoted(field: str) -> str:
    """Undo the quoting of spreadsheets: TSV fields that contain quotes are quoted, and these quotes doubled."""
    if len(field) >= 2 and field[0] == field[-1] == _QUOTE:
        inner = field[1:-1]
        if _QUOTE not in inner.replace('""', ""):
            return inner.replace('""', _QUOTE)
    return field
