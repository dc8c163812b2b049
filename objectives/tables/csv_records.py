"""Records of comma-separated lines: quoted fields may hold line ends, and a broken record costs one line."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from autoopt.objectives.tables.table import MAX_CHARACTERS
from autoopt.objectives.tables.text_lines import lines

_BATCH = 1000
"""Records parsed at a time."""


def csv_records(path: Path, reject: Callable[[str], None]) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line on which it begins.

    ``reject`` is called with the message of a line that begins no record, such as one with an unclosed quote, after
    which reading goes on with the next line, and of a record that is not UTF-8. Raises ``DataError`` as ``lines`` does.
    """
    feed = _LineFeed(path)
    parser = csv.reader(feed, strict=True)
    while not feed.is_at_end():
        yield from _next_batch(path, feed, parser, reject)


def _next_batch(
    path: Path, feed: _LineFeed, parser: Iterator[list[str]], reject: Callable[[str], None]
) -> list[tuple[int, list[str]]]:
    """Parse some records, with the field size limit, which is global to the process, raised in the meantime."""
    batch: list[tuple[int, list[str]]] = []
    usual_limit = csv.field_size_limit(MAX_CHARACTERS)
    try:
        while len(batch) < _BATCH and not feed.is_at_end():
            try:
                for record in islice(parser, _BATCH - len(batch)):
                    if problem := feed.undecodable_line():
                        reject(problem)
                    else:
                        batch.append((feed.first_line, record))
                    feed.start_record()
            except (csv.Error, _RecordTooLong) as error:
                reject(_problem(path, feed.first_line, error))
                feed.skip_first_line()
    finally:
        csv.field_size_limit(usual_limit)
    return batch


def _problem(path: Path, line: int, error: Exception) -> str:
    if isinstance(error, _RecordTooLong):
        return (
            f"{path}:{line}: the record that begins here is longer than {MAX_CHARACTERS:,} characters; a quote in it "
            "is not closed: close it, or double a quote that belongs to the text"
        )
    return (
        f"{path}:{line}: {error} in the record that begins here; close the quote, or double a quote that belongs to "
        "the text"
    )


class _RecordTooLong(Exception):
    """Raised by ``_LineFeed`` once a record is longer than ``MAX_CHARACTERS``."""


class _LineFeed:
    """Feeds lines to the CSV parser, and those after the first of a broken record once more."""

    def __init__(self, path: Path) -> None:
        self._undecodable: dict[int, str] = {}
        self._lines = lines(path, undecodable=self._undecodable)
        self._again: deque[tuple[int, str]] = deque()
        self.start_record()

    @property
    def first_line(self) -> int:
        """Number of the line on which the current record begins."""
        return self._record[0][0]

    def start_record(self) -> None:
        self._record: list[tuple[int, str]] = []
        self._characters = 0

    def undecodable_line(self) -> str | None:
        """Return the message of the first line of the current record that is not UTF-8; None if all are."""
        return next((self._undecodable[number] for number, _ in self._record if number in self._undecodable), None)

    def skip_first_line(self) -> None:
        """Give up the current record: its lines after the first are fed again."""
        self._again.extendleft(reversed(self._record[1:]))
        self.start_record()

    def is_at_end(self) -> bool:
        if not self._again and (line := next(self._lines, None)) is not None:
            self._again.append(line)
        return not self._again

    def __iter__(self) -> _LineFeed:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._record.append(line)
        self._characters += len(line[1])
        if self._characters > MAX_CHARACTERS:
            raise _RecordTooLong
        return line[1]
