"""The file formats that data comes in: csv, tsv, JSON lines, parquet, plain lines, a folder of class folders."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoopt.objectives.table import MAX_CHARACTERS, MAX_FILE_BYTES, Cell, Table
from autoopt.objectives.text_lines import lines, whole_text
from autoopt.strategies.errors import DataError

TEXT_COLUMN, LABEL_COLUMN = "text", "label"
"""The columns of a folder of class folders, and of plain lines."""
UNREADABLE_SHARE = 0.01
"""Of the files of a folder, how many may be no UTF-8 and are left out with a note."""


def read(path: Path) -> Table:
    """Read a file by its suffix, or a folder of class folders. Raises ``DataError``."""
    if path.is_dir():
        return _read_folder(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        raise DataError(f"{path} is of no kind that can be read; convert it to one of {', '.join(READERS)}")
    try:
        table = reader(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check its owner and its disk") from None
    if not table.rows:
        raise DataError(f"{path} has a header and no rows; it needs at least one row for each class")
    return table


def _read_csv(path: Path) -> Table:
    records = _records(path)
    columns = _header(path, records)
    rows, places = [], []
    for number, record in records:
        if not record:
            continue  # An empty line.
        if len(record) != len(columns):
            raise DataError(
                f"{path}:{number}: {len(record)} fields where the header has {len(columns)}; "
                "put quotes around a text that contains the delimiter"
            )
        rows.append(record)
        places.append(f"{path}:{number}")
    return Table(str(path), columns, rows, places)


def _header(path: Path, records: Iterator[tuple[int, list[str]]]) -> tuple[str, ...]:
    _, names = next(records, (0, []))
    columns = tuple(name.strip() for name in names)
    if not any(columns):
        raise DataError(f"{path}:1: the first line is empty; it must name the columns")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{path}:1: the header has the column '{twice[0]}' more than once; rename one of them")
    if len(columns) == 1 and ";" in columns[0]:
        raise DataError(f"{path}:1: the columns are separated by ';'; save the file with commas, or as .tsv with tabs")
    return columns


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each record of a csv or tsv file with the line on which it begins."""
    tabs = path.suffix.lower() == ".tsv"
    feed = _Feed(path)
    # In a tsv file a quote is a character like any other: it has no way to run away there.
    parser = csv.reader(feed, csv.excel_tab, quoting=csv.QUOTE_NONE) if tabs else csv.reader(feed, strict=True)
    while True:
        feed.start_record()
        with _long_fields(), _explained(path, feed):
            record = next(parser, None)
        if record is None:
            return
        yield feed.first_line, [_unquoted(field) for field in record] if tabs else record


class _Feed:
    """Hands lines to the csv parser, and stops it where one record swallows far too many of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = lines(path)
        self.start_record()

    def start_record(self) -> None:
        self.first_line = 0
        self._characters = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        self.first_line = self.first_line or number
        self._characters += len(line)
        if self._characters > MAX_CHARACTERS:
            raise DataError(
                f"{self._path}:{self.first_line}: the record that begins here is longer than {MAX_CHARACTERS:,} "
                "characters; a quote in it is not closed: close it, or double a quote that belongs to the text"
            )
        return line


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(MAX_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


@contextmanager
def _explained(path: Path, feed: _Feed) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise DataError(
            f"{path}:{feed.first_line}: {error} in the record that begins here; close the quote, or double a quote "
            "that belongs to the text"
        ) from None


def _unquoted(field: str) -> str:
    """Spreadsheets quote tsv fields that contain quotes, and double those."""
    inner = field[1:-1]
    if len(field) >= 2 and field[0] == field[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return field


def _read_json_lines(path: Path) -> Table:
    columns: dict[str, int] = {}
    records: list[dict[str, Cell]] = []
    places = []
    for number, line in lines(path):
        if line.strip():
            record = _json_record(line, f"{path}:{number}")
            columns.update({name: len(columns) for name in record if name not in columns})
            records.append(record)
            places.append(f"{path}:{number}")
    return Table(str(path), tuple(columns), [[record.get(name) for name in columns] for record in records], places)


def _json_record(line: str, place: str) -> dict[str, Cell]:
    try:
        record = json.loads(line, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}: no JSON at character {error.pos + 1}: {error.msg}; each line must be one JSON object"
        ) from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"{place}: this JSON cannot be read: {error}; each line must be one flat JSON object") from None
    if not isinstance(record, dict):
        raise DataError(f'{place}: a JSON {type(record).__name__} where an object is needed, such as {{"text": …}}')
    return record


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = next(name for name, _ in pairs if [key for key, _ in pairs].count(name) > 1)
        raise ValueError(f"the key '{twice}' occurs twice")
    return record


def _read_parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        size = sum(file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups))
        if size > MAX_FILE_BYTES:
            raise DataError(
                f"{path} unpacks to {size:,} bytes; at most {MAX_FILE_BYTES:,} are read: take a sample of it"
            )
        names = tuple(file.schema_arrow.names)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"{path}: the column '{twice[0]}' occurs more than once; rename one of them")
        columns = {name: file.read(columns=[name]).column(0).to_pylist() for name in names}
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read as parquet: {first}; write it again, or give csv or jsonl") from None
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return Table(str(path), names, rows, [f"{path}: row {number}" for number in range(1, len(rows) + 1)])


def _read_plain_lines(path: Path) -> Table:
    kept = [(number, line.strip()) for number, line in lines(path) if line.strip()]
    return Table(str(path), (TEXT_COLUMN,), [[line] for _, line in kept], [f"{path}:{number}" for number, _ in kept])


def _read_folder(path: Path) -> Table:
    classes = sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith((".", "_")))
    if not classes:
        files = ", ".join(sorted(item.name for item in path.iterdir())[:10]) or "nothing"
        raise DataError(
            f"{path} has no class folders; it holds {files}. Give a file, or a folder with a folder of .txt files "
            "for each class"
        )
    rows, places, unreadable = [], [], []
    for folder in classes:
        texts = _texts(folder, path)
        for file in texts:
            try:
                rows.append([whole_text(file), folder.name])
                places.append(str(file))
            except DataError as error:
                unreadable.append(error)
    if len(unreadable) > UNREADABLE_SHARE * (len(rows) + len(unreadable)):
        raise DataError(f"{unreadable[0]} ({len(unreadable)} of {len(rows) + len(unreadable)} files are like this)")
    notes = (
        [f"left out {len(unreadable)} of {len(rows) + len(unreadable)} files: {unreadable[0]}"] if unreadable else []
    )
    return Table(str(path), (TEXT_COLUMN, LABEL_COLUMN), rows, places, tuple(notes))


def _texts(folder: Path, root: Path) -> list[Path]:
    texts = sorted(file for file in folder.iterdir() if file.suffix == ".txt" and not file.name.startswith("."))
    if not texts:
        raise DataError(
            f"{folder} holds no .txt files; each class folder needs one for each text, or remove the folder"
        )
    inside = root.resolve()
    for file in texts:
        if not file.resolve().is_relative_to(inside):
            raise DataError(f"{file} is a link that leads out of {root}; put the file itself there")
    return texts


READERS: Mapping[str, Callable[[Path], Table]] = MappingProxyType(
    {
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
        ".parquet": _read_parquet,
        ".txt": _read_plain_lines,
    }
)
"""By the suffix of the file's name."""


def is_data_file(name: str) -> bool:
    """True for a name that can only mean a file."""
    return Path(name).suffix.lower() in {*READERS, ".json", ".arrow", ".xlsx", ".zip", ".gz"}
