"""From a table to text for a language model: running text, prompts with responses, or dialogues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TypeAlias

from autoopt.objectives.data.cells import blank_notes, cell_text, check_encodable, raw_texts
from autoopt.objectives.data.columns import choose_columns, usual_column
from autoopt.objectives.data.rows import LeftOut, Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.tables.table import Cell, Table
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError

MESSAGES_NAMES = ("messages", "conversations")
"""Usual names of a column of dialogues."""
RESPONSE_NAMES = (
    *(("prompt", "response"), ("prompt", "completion"), ("instruction", "output"), ("instruction", "response")),
    ("question", "answer"),
)
"""Usual names of a column of prompts and of a column of responses."""
INPUT_NAME = "input"
"""A column of this name beside ``instruction`` is appended to the prompt."""
ASSISTANT = "assistant"
"""Role of the messages in a dialogue that are responses."""

Message: TypeAlias = dict[str, str]
"""With ``role`` and ``content``."""


class Form(StrEnum):
    """What an example is."""

    TEXT = "text"
    """Running text: a text that ends with a line end continues in the next example, any other is a whole document."""
    PROMPT = "prompt"
    """``text`` is a prompt and ``text_pair`` its response."""
    DIALOGUE = "dialogue"
    """``text`` is a list of messages as JSON and ``text_pair`` the assistant's next message."""


def read_language(table: Table, settings: DataSettings, *, train_rows: Sequence[Row]) -> Reading:
    """Return the rows in the form of the columns; a dialogue gives a row for each response in it.

    Running text is unchanged, blank lines and headings included. Prompts and responses are left out if one of them is
    blank. Raises ``DataError`` for an invalid cell, without any text, and if the training rows have another form.
    """
    form, columns = _columns(table, settings)
    match form:
        case Form.TEXT:
            reading = _running_text(table, columns[0])
        case Form.PROMPT:
            reading = _prompts(table, columns[:-1], columns[-1])
        case Form.DIALOGUE:
            reading = _dialogues(table, columns[0])
    if train_rows and form_of(train_rows) is not form:
        raise DataError(
            f"{table.source} was read as {_NOUNS[form]} ({reading.columns}), and the training data as "
            f"{_NOUNS[form_of(train_rows)]}; give both in the same form, or name their columns with data.text and "
            "data.text_pair"
        )
    return reading


def form_of(examples: Sequence[Row] | Sequence[Example]) -> Form:
    """Return the form of the examples."""
    if not examples or examples[0].text_pair is None:
        return Form.TEXT
    return Form.DIALOGUE if all(_is_dialogue(example.text) for example in examples) else Form.PROMPT


def parse_messages(text: str) -> list[Message]:
    """Return the messages in the ``text`` of a dialogue."""
    messages: list[Message] = json.loads(text)
    return messages


def dump_messages(messages: Sequence[Message]) -> str:
    """Return messages as the ``text`` of a dialogue. Inverse of ``parse_messages``."""
    return json.dumps(messages, ensure_ascii=False)


_NOUNS = {Form.TEXT: "running text", Form.PROMPT: "prompts with responses", Form.DIALOGUE: "dialogues"}


def _columns(table: Table, settings: DataSettings) -> tuple[Form, tuple[str, ...]]:
    if settings.text is None and settings.text_pair is None:
        messages = usual_column(table, MESSAGES_NAMES)
        if messages:
            return Form.DIALOGUE, (messages,)
        for names in RESPONSE_NAMES:
            prompt, response = (usual_column(table, (name,)) for name in names)
            if prompt and response:
                inputs = usual_column(table, (INPUT_NAME,)) if names[0] == "instruction" else None
                return Form.PROMPT, (prompt, inputs, response) if inputs else (prompt, response)
    columns = choose_columns(table, text=settings.text, text_pair=settings.text_pair, label=None, labelled=False)
    if settings.text_pair:
        return Form.PROMPT, (columns.text, settings.text_pair)
    position = table.columns.index(columns.text)
    holds_lists = any(isinstance(row[position], list) for row in table.rows)
    return Form.DIALOGUE if holds_lists else Form.TEXT, (columns.text,)


def _running_text(table: Table, column: str) -> Reading:
    texts = [text.replace("\r\n", "\n") for text in raw_texts(table, column)]
    if not any(text.strip() for text in texts):
        raise DataError(f"{table.source} has no text in its column '{column}'; choose the column with data.text")
    rows = [Row(text, None, None, place) for text, place in zip(texts, table.places, strict=True)]
    return Reading(rows, f"running text from the column '{column}'")


def _prompts(table: Table, prompt_columns: Sequence[str], response_column: str) -> Reading:
    names = (*prompt_columns, response_column)
    positions = [table.columns.index(name) for name in names]
    rows: list[Row] = []
    blank: list[str] = []
    bad: list[str] = []
    for cells, place in zip(table.rows, table.places, strict=True):
        try:
            *parts, response = (
                cell_text(cells[position], place, name).strip() for position, name in zip(positions, names, strict=True)
            )
        except DataError as error:
            bad.append(str(error))
            continue
        if parts[0] and response:
            rows.append(Row("\n".join(filter(None, parts)), response, None, place))
        else:
            blank.append(place)
    listed = " and ".join(f"'{column}'" for column in prompt_columns)
    notes = blank_notes(table, prompt_columns[0], blank)
    return Reading(
        rows,
        f"prompts from the column {listed}, responses from '{response_column}'",
        tuple(notes),
        bad_rows=tuple(bad),
        left_out=(LeftOut("blank prompt or response", len(blank), blank[:1]),),
    )


def _dialogues(table: Table, column: str) -> Reading:
    position = table.columns.index(column)
    rows: list[Row] = []
    bad: list[str] = []
    for cells, place in zip(table.rows, table.places, strict=True):
        try:
            rows += _dialogue_rows(cells[position], place, column)
        except DataError as error:
            bad.append(str(error))
    columns = f"dialogues from the column '{column}', an example for each answer of the role '{ASSISTANT}'"
    return Reading(rows, columns, bad_rows=tuple(bad))


def _dialogue_rows(cell: Cell, place: str, column: str) -> list[Row]:
    """Return a row for each response in a dialogue. Raises ``DataError`` if it has none."""
    responses = list(_responses(_messages(cell, place, column)))
    if not responses:
        raise DataError(
            f"{place}: the dialogue in the column '{column}' has no answer of the role '{ASSISTANT}' after another "
            "message; add one, or remove the row"
        )
    group = place if len(responses) > 1 else ""
    return [Row(dump_messages(before), response, None, place, group) for before, response in responses]


def _responses(messages: Sequence[Message]) -> Iterator[tuple[Sequence[Message], str]]:
    """Yield each response of the assistant after all the messages before it."""
    for position, message in enumerate(messages):
        if message["role"] == ASSISTANT and position > 0 and message["content"].strip():
            yield messages[:position], message["content"]


def _messages(cell: Cell, place: str, column: str) -> list[Message]:
    if not isinstance(cell, list) or not all(map(_is_message, cell)):
        raise DataError(
            f"{place}: the column '{column}' holds {cell!r:.60}, no dialogue; write a list of messages, such as "
            '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]'
        )
    return [{"role": item["role"], "content": check_encodable(item["content"], place, column)} for item in cell]


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)


def _is_dialogue(text: str) -> bool:
    if not text.startswith('[{"'):
        return False
    try:
        messages = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return all(map(_is_message, messages))
