"""Texts to predict, in batches: from a data file, from stdin, or from the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from autoopt.objectives.file_formats import read_batches
from autoopt.objectives.file_formats.json_file import table_of_lines
from autoopt.objectives.inputs import (
    Input,
    InputColumns,
    check_is_text,
    choose_inputs,
    is_json_object,
)
from autoopt.objectives.tables.table import TEXT_COLUMN, Table
from autoopt.objectives.tables.text_lines import decode
from autoopt.objectives.task import Task
from autoopt.strategies.errors import DataError

ROWS = 256
"""Rows read and predicted at a time."""
STDIN = Path("stdin")


@dataclass(frozen=True)
class Batch:
    """Some rows of the input, and what the model is asked about each."""

    table: Table
    inputs: Sequence[Input]
    columns: InputColumns


@dataclass(frozen=True)
class ColumnChoice:
    """Columns that hold the texts; None for those with usual names."""

    text: str | None = None
    text_pair: str | None = None
    trained: Mapping[str, str | None] | None = None
    """Columns that the training data were read from; they count where they exist and no other is chosen."""

    def of(self, table: Table, task: Task) -> InputColumns:
        """Return the columns of a table. Raises ``DataError``."""
        text, text_pair = self.text, self.text_pair
        if text is None and text_pair is None and self.trained:
            names = (self.trained.get("text"), self.trained.get("text_pair"))
            text, text_pair = (name if name in table.columns else None for name in names)
            text_pair = text_pair if task.input_names.pairs else None
        return choose_inputs(table, task.input_names, text=text, text_pair=text_pair)


def file_batches(path: Path, task: Task, choice: ColumnChoice) -> Iterator[Batch]:
    """Yield the rows of a data file, read as training reads it. Raises ``DataError`` with the place of a bad row."""
    if not path.is_file():
        raise DataError(f"there is no file {path}; give a data file, or - for stdin")
    return _batches(map(_checked_lines, read_batches(path, ROWS)), task, choice)


def stdin_batches(stream: BinaryIO, task: Task, choice: ColumnChoice) -> Iterator[Batch]:
    """Yield what arrives on stdin: JSON Lines if the first line is an object, else a text on each line."""
    numbered = _decoded(stream)
    first = next(numbered, None)
    if first is None:
        raise DataError("there is nothing on stdin; write a text on each line, or JSON Lines")
    lines, is_json = chain([first], numbered), is_json_object(first[1])
    tables = (table_of_lines(STDIN, part) if is_json else _text_table(part) for part in _parts(lines))
    return _batches((table for table in tables if table.rows), task, choice)


def text_batches(texts: Sequence[str], pairs: Sequence[str]) -> Iterator[Batch]:
    """Yield texts, or pairs of texts if there are ``pairs``."""
    columns = InputColumns("text", "text_pair" if pairs else None)
    rows: list[list[str]] = [list(row) for row in (zip(texts, pairs, strict=True) if pairs else zip(texts))]
    inputs: list[Input] = [(row[0], row[1]) if pairs else row[0] for row in rows]
    names = ("text", "text_pair") if pairs else ("text",)
    places = [f"text {number}" for number in range(1, len(rows) + 1)]
    yield Batch(Table("the command line", names, rows, places), inputs, columns)


def _batches(tables: Iterable[Table], task: Task, choice: ColumnChoice) -> Iterator[Batch]:
    columns: InputColumns | None = None
    for table in tables:
        columns = columns or choice.of(table, task)
        yield Batch(table, task.inputs(table, columns), columns)


def _checked_lines(table: Table) -> Table:
    """Return a table of lines of text without their line ends; any other unchanged."""
    if table.columns != (TEXT_COLUMN,) or not any(str(row[0]).endswith("\n") for row in table.rows):
        return table
    for row, place in zip(table.rows, table.places, strict=True):
        check_is_text(str(row[0]), place)
    return Table(table.source, table.columns, [[str(row[0]).removesuffix("\n")] for row in table.rows], table.places)


def _text_table(numbered: Sequence[tuple[int, str]]) -> Table:
    texts = [line.rstrip("\r\n") for _, line in numbered]
    places = [f"{STDIN}:{number}" for number, _ in numbered]
    for text, place in zip(texts, places, strict=True):
        check_is_text(text, place)
    return Table(str(STDIN), (TEXT_COLUMN,), [[text] for text in texts], places)


def _decoded(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    offset = 0
    for number, raw in enumerate(stream, start=1):
        yield number, decode(raw, path=STDIN, line=number, offset=offset)
        offset += len(raw)


def _parts(lines: Iterator[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    while part := list(islice(lines, ROWS)):
        yield part
