"""JSON documents and JSON Lines: each record with the line on which it begins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from autoopt.objectives.annotations.records import Converted
from autoopt.objectives.annotations.spacy import spacy_record
from autoopt.objectives.annotations.tools import converted
from autoopt.objectives.file_formats import FileFormat
from autoopt.objectives.tables.squad import is_squad, question_table
from autoopt.objectives.tables.table import Cell, Table
from autoopt.objectives.tables.text_lines import lines, read_text_file
from autoopt.strategies.errors import DataError

MAX_DOCUMENT_BYTES = 500_000_000
"""A document is parsed as a whole in memory; JSON Lines are not."""
RECORDS = "data"
"""Key of the list of records in a document that is an object."""
_BLANKS = re.compile(r"[ \t\n\r]*")
_EXPECTED_FORM = f'the file must be a list of flat objects, [{{"text": …}}, …], or {{"{RECORDS}": [{{"text": …}}, …]}}'


def read_json_lines(path: Path) -> Table:
    """Read an object from each line that is not blank; missing keys become None.

    A line that is no object is a bad row. Records of annotation tools become texts with labels and spans. Raises
    ``DataError``.
    """
    records: list[dict[str, Cell]] = []
    places: list[str] = []
    bad: list[str] = []
    undecodable: dict[int, str] = {}
    for number, line in lines(path, undecodable=undecodable):
        place = f"{path}:{number}"
        try:
            if number in undecodable:
                bad.append(undecodable[number])
            elif line.strip():
                records.append(_json_record(line, place))
                places.append(place)
        except DataError as error:
            bad.append(str(error))
    return replace(_table(path, records, places), bad_rows=tuple(bad))


def json_lines_batches(path: Path, size: int) -> Iterator[Table]:
    """Yield the rows of ``read_json_lines`` in tables of at most ``size`` rows; each has the columns of its rows."""
    numbered = lines(path)
    while batch := list(islice(numbered, size)):
        yield table_of_lines(path, batch)


def table_of_lines(source: Path, numbered: Iterable[tuple[int, str]]) -> Table:
    """Return the table of numbered lines of JSON Lines; blank lines are no rows. Raises ``DataError``."""
    records, places = _records_of_lines(source, numbered)
    return _plain_table(source, Converted(records, places))


def _records_of_lines(source: Path, numbered: Iterable[tuple[int, str]]) -> tuple[list[dict[str, Cell]], list[str]]:
    records, places = [], []
    for number, line in numbered:
        if line.strip():
            records.append(_json_record(line, f"{source}:{number}"))
            places.append(f"{source}:{number}")
    return records, places


def read_json(path: Path) -> Table:
    """Read a list of objects, an object with such a list under ``data``, or a SQuAD document.

    A file that holds JSON Lines is read as such. Raises ``DataError``.
    """
    text = read_text_file(path, max_bytes=MAX_DOCUMENT_BYTES, remedy="save it as .jsonl, with an object on each line")
    if not text.strip():
        raise DataError(f"{path} is empty; {_EXPECTED_FORM}")
    scanner = _Scanner(path, text)
    document: dict[str, Any] = {}
    values: Any
    if scanner.peek() == "[":
        values = list(scanner.elements())
    else:
        document = dict(scanner.members())
        if scanner.peek() == "{":
            return read_json_lines(path)
        values = document.get(RECORDS, _spacy_annotations(path, document))
    if scanner.peek():
        raise scanner.error("there is more after the end of the document; keep one list of records")
    if not isinstance(values, list):
        keys = ", ".join(f"{key!r:.60}" for key in list(document)[:10])
        raise DataError(
            f"{path}:1: a JSON object that has {keys or 'nothing'} and no list '{RECORDS}'; {_EXPECTED_FORM}"
        )
    document[RECORDS] = [value for _, value in values]
    if is_squad(document):
        return question_table(path, document)
    return _table(path, [_object(value, place) for place, value in values], [place for place, _ in values])


def _spacy_annotations(path: Path, document: dict[str, Any]) -> list[tuple[str, Any]] | None:
    """Return the pairs in ``{"classes": [...], "annotations": [["text", {...}], ...]}`` with places; None if absent."""
    items = document.get("annotations")
    if not isinstance(items, list) or not all(item is None or spacy_record(item) for item in items):
        return None
    return [(f"{path}: annotations[{number}]", item) for number, item in enumerate(items) if item is not None]


def _table(path: Path, records: Sequence[dict[str, Cell]], places: Sequence[str]) -> Table:
    return _plain_table(path, converted(records, places))


def _plain_table(path: Path, plain: Converted) -> Table:
    columns = tuple(dict.fromkeys(name for record in plain.records for name in record))
    rows = [[record.get(name) for name in columns] for record in plain.records]
    return Table(str(path), columns, rows, plain.places, plain.notes, plain.warnings)


def _json_record(line: str, place: str) -> dict[str, Cell]:
    try:
        record = json.loads(line, object_pairs_hook=_without_duplicate_keys)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}: no JSON at character {error.pos + 1}: {error.msg}; each line must be one JSON object"
        ) from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"{place}: this JSON cannot be read: {error}; each line must be one flat JSON object") from None
    return _object(record, place)


def _object(value: Any, place: str) -> dict[str, Cell]:
    if not isinstance(value, dict):
        record = spacy_record(value)
        if record is not None:
            return record
        raise DataError(f'{place}: a JSON {type(value).__name__} where an object is needed, such as {{"text": …}}')
    return value


def _without_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        duplicate = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key '{duplicate}' occurs twice")
    return record


class _Scanner:
    """Parser of the outermost list or object of a document, element by element, which tracks line numbers."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text
        self._decoder = json.JSONDecoder(object_pairs_hook=_without_duplicate_keys)
        self._position = self._line_position = 0
        self._line = 1

    def peek(self) -> str:
        """Return the next character that is not blank without consuming it; empty at the end."""
        self._position = _BLANKS.match(self._text, self._position).end()  # type: ignore[union-attr]
        return self._text[self._position : self._position + 1]

    def elements(self) -> Iterator[tuple[str, Any]]:
        """Yield the place and the value of each element of the list at the current position."""
        self._consume("[")
        if self.peek() == "]":
            return self._consume("]")
        while True:
            yield self._value()
            if self.peek() == "]":
                return self._consume("]")
            self._consume(",")

    def members(self) -> Iterator[tuple[str, Any]]:
        """Yield key and value of each member of the object here; the value of ``RECORDS`` as (place, value) pairs."""
        self._consume("{")
        seen: set[str] = set()
        while self.peek() != "}":
            if seen:
                self._consume(",")
            if self.peek() != '"':
                raise self.error("a key in quotes is expected")
            _, key = self._value()
            self._consume(":")
            if key in seen:
                raise self.error(f"the key '{key}' occurs twice; keep one")
            seen.add(key)
            yield key, list(self.elements()) if key == RECORDS and self.peek() == "[" else self._value()[1]
        self._consume("}")

    def error(self, problem: str) -> DataError:
        """Return an error at the current position."""
        return DataError(f"{self._place()}: {problem}; {_EXPECTED_FORM}")

    def _value(self) -> tuple[str, Any]:
        self.peek()
        place = self._place()
        try:
            value, self._position = self._decoder.raw_decode(self._text, self._position)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{self._path}:{error.lineno}: no JSON at character {error.colno}: {error.msg}; {_EXPECTED_FORM}"
            ) from None
        except (RecursionError, ValueError) as error:
            raise DataError(f"{place}: the JSON that begins here cannot be read: {error}; {_EXPECTED_FORM}") from None
        return place, value

    def _consume(self, character: str) -> None:
        actual = self.peek()
        if actual != character:
            shown = f"'{actual}'" if actual else "the end of the file"
            raise self.error(f"no JSON: '{character}' is expected where {shown} stands")
        self._position += 1

    def _place(self) -> str:
        self._line += self._text.count("\n", self._line_position, self._position)
        self._line_position = self._position
        return f"{self._path}:{self._line}"


JSON = FileFormat(
    suffixes=(".json",),
    read=read_json,
    example=lambda: b'[{"text": "Chelsea won", "label": "sport"},\n{"text": "shares fell", "label": "business"}]',
)
JSON_LINES = FileFormat(
    suffixes=(".jsonl", ".ndjson"),
    read=read_json_lines,
    batches=json_lines_batches,
    example=lambda: b'{"text": "Chelsea won", "label": "sport"}\n{"text": "shares fell", "label": "business"}\n',
)
