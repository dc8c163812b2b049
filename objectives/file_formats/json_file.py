"""JSON, an object on each line or one document with a list of them: each record with the line on which it begins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from autoopt.objectives.file_formats import squad
from autoopt.objectives.file_formats.table import Cell, Table
from autoopt.objectives.file_formats.text_lines import lines, whole_text
from autoopt.strategies.errors import DataError

MAX_DOCUMENT_BYTES = 500_000_000
"""A document is in memory as a whole before its first record is known; JSON lines are not."""
RECORDS = "data"
"""The key under which a document that is an object has its records."""
_BLANKS = re.compile(r"[ \t\n\r]*")
_WANTED = f'the file must be a list of flat objects, [{{"text": …}}, …], or {{"{RECORDS}": [{{"text": …}}, …]}}'


def read_json_lines(path: Path) -> Table:
    """Read an object from each line that is not blank; what a line does not have is None. Raises ``DataError``."""
    records, places = [], []
    for number, line in lines(path):
        if line.strip():
            records.append(_json_record(line, f"{path}:{number}"))
            places.append(f"{path}:{number}")
    return _table(path, records, places)


def read_json(path: Path) -> Table:
    """Read a list of objects, or an object that has them under ``data``; SQuAD's questions are found in either.

    A file that is JSON lines in truth is read as such. Raises ``DataError``.
    """
    text = whole_text(path, most=MAX_DOCUMENT_BYTES, remedy="save it as .jsonl, with an object on each line")
    if not text.strip():
        raise DataError(f"{path} is empty; {_WANTED}")
    scan = _Scan(path, text)
    document: dict[str, Any] = {}
    values: Any
    if scan.peek() == "[":
        values = list(scan.elements())
    else:
        document = dict(scan.members())
        if scan.peek() == "{":
            return read_json_lines(path)
        values = document.get(RECORDS)
    if scan.peek():
        raise scan.error("there is more after the end of the document; keep one list of records")
    if not isinstance(values, list):
        keys = ", ".join(f"{key!r:.60}" for key in list(document)[:10])
        raise DataError(f"{path}:1: a JSON object that has {keys or 'nothing'} and no list '{RECORDS}'; {_WANTED}")
    if questions := _questions(path, {**document, RECORDS: [value for _, value in values]}):
        return questions
    return _table(path, [_object(value, place) for place, value in values], [place for place, _ in values])


def _questions(path: Path, document: dict[str, Any]) -> Table | None:
    return squad.table(path, document) if squad.is_squad(document) else None


def _table(path: Path, records: Sequence[dict[str, Cell]], places: Sequence[str]) -> Table:
    columns = tuple(dict.fromkeys(name for record in records for name in record))
    return Table(str(path), columns, [[record.get(name) for name in columns] for record in records], places)


def _json_record(line: str, place: str) -> dict[str, Cell]:
    try:
        record = json.loads(line, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}: no JSON at character {error.pos + 1}: {error.msg}; each line must be one JSON object"
        ) from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"{place}: this JSON cannot be read: {error}; each line must be one flat JSON object") from None
    return _object(record, place)


def _object(value: Any, place: str) -> dict[str, Cell]:
    if not isinstance(value, dict):
        raise DataError(f'{place}: a JSON {type(value).__name__} where an object is needed, such as {{"text": …}}')
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = next(name for name, _ in pairs if [key for key, _ in pairs].count(name) > 1)
        raise ValueError(f"the key '{twice}' occurs twice")
    return record


class _Scan:
    """Reads the outermost list or object of a document piece by piece, so that each piece has its line."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text
        self._decoder = json.JSONDecoder(object_pairs_hook=_unique)
        self._position = self._counted = 0
        self._line = 1

    def peek(self) -> str:
        """The next character that is not blank, which stays where it is; empty at the end."""
        self._position = _BLANKS.match(self._text, self._position).end()  # type: ignore[union-attr]
        return self._text[self._position : self._position + 1]

    def elements(self) -> Iterator[tuple[str, Any]]:
        """Yield the place and the value of each element of the list that begins here."""
        self._take("[")
        if self.peek() == "]":
            return self._take("]")
        while True:
            yield self._value()
            if self.peek() == "]":
                return self._take("]")
            self._take(",")

    def members(self) -> Iterator[tuple[str, Any]]:
        """Yield the keys and values of the object that begins here; of the records, places and values."""
        self._take("{")
        known: set[str] = set()
        while self.peek() != "}":
            if known:
                self._take(",")
            if self.peek() != '"':
                raise self.error("a key in quotes is expected")
            _, key = self._value()
            self._take(":")
            if key in known:
                raise self.error(f"the key '{key}' occurs twice; keep one")
            known.add(key)
            yield key, list(self.elements()) if key == RECORDS and self.peek() == "[" else self._value()[1]
        self._take("}")

    def error(self, what: str) -> DataError:
        """What is wrong at the place that is read next."""
        return DataError(f"{self._place()}: {what}; {_WANTED}")

    def _value(self) -> tuple[str, Any]:
        self.peek()
        place = self._place()
        try:
            value, self._position = self._decoder.raw_decode(self._text, self._position)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{self._path}:{error.lineno}: no JSON at character {error.colno}: {error.msg}; {_WANTED}"
            ) from None
        except (RecursionError, ValueError) as error:
            raise DataError(f"{place}: the JSON that begins here cannot be read: {error}; {_WANTED}") from None
        return place, value

    def _take(self, character: str) -> None:
        found = self.peek()
        if found != character:
            what = f"'{found}'" if found else "the end of the file"
            raise self.error(f"no JSON: '{character}' is expected where {what} stands")
        self._position += 1

    def _place(self) -> str:
        self._line += self._text.count("\n", self._counted, self._position)
        self._counted = self._position
        return f"{self._path}:{self._line}"
