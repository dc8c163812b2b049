"""From a table to text that is to be continued: running text, prompts with their responses, or dialogues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TypeAlias

from autoopt.objectives.data.cells import blank_note, column_of_texts, encodable, raw_texts
from autoopt.objectives.data.columns import choose
from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.file_formats.table import Cell, Table
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError

MESSAGES_NAMES = ("messages", "conversations")
"""Names of a column of dialogues."""
RESPONSE_NAMES = (
    *(("prompt", "response"), ("prompt", "completion"), ("instruction", "output"), ("instruction", "response")),
    ("question", "answer"),
)
"""Names of two columns of which the second is the response to the first."""
INPUT_NAME = "input"
"""A column of this name beside an ``instruction`` is what the instruction is about: it goes on the prompt."""
ASSISTANT = "assistant"
"""The role of who answers in a dialogue."""

Message: TypeAlias = dict[str, str]
"""``role`` and ``content``."""


class Form(StrEnum):
    """What an example is."""

    TEXT = "text"
    """Running text: a text that ends with a line end goes on in the next example, any other is a whole document."""
    PROMPT = "prompt"
    """``text`` is a prompt and ``text_pair`` the response to it."""
    DIALOGUE = "dialogue"
    """``text`` is a list of messages as JSON and ``text_pair`` what the assistant says next."""


def read_written(table: Table, settings: DataSettings, *, like: Sequence[Row]) -> Reading:
    """Return the rows in the form that the columns have; a dialogue gives a row for each answer in it.

    Running text is taken as it stands, line by line, blank lines and headings too. Of prompts and responses those are
    dropped where one is blank. Raises ``DataError`` for a cell that is not what its column should hold, where there is
    no text at all, and where ``like``, the training rows, are of another form.
    """
    form, columns = _columns(table, settings)
    match form:
        case Form.TEXT:
            reading = _running_text(table, columns[0])
        case Form.PROMPT:
            reading = _prompts(table, columns)
        case Form.DIALOGUE:
            reading = _dialogues(table, columns[0])
    if like and form_of(like) is not form:
        raise DataError(
            f"{table.source} was read as {_NOUNS[form]} ({reading.columns}), and the training data as "
            f"{_NOUNS[form_of(like)]}; give both in the same form, or name their columns with data.text and "
            "data.text_pair"
        )
    return reading


def form_of(examples: Sequence[Row] | Sequence[Example]) -> Form:
    """The form that examples were read in."""
    if not examples or examples[0].text_pair is None:
        return Form.TEXT
    return Form.DIALOGUE if all(_is_dialogue(example.text) for example in examples) else Form.PROMPT


def messages_of(text: str) -> list[Message]:
    """The messages that an example of a dialogue has in its ``text``."""
    found: list[Message] = json.loads(text)
    return found


def text_of(messages: Sequence[Message]) -> str:
    """Inverse of ``messages_of``."""
    return json.dumps(messages, ensure_ascii=False)


_NOUNS = {Form.TEXT: "running text", Form.PROMPT: "prompts with responses", Form.DIALOGUE: "dialogues"}


def _columns(table: Table, settings: DataSettings) -> tuple[Form, tuple[str, ...]]:
    names = {name.lower(): name for name in table.columns}
    if settings.text is None and settings.text_pair is None:
        for name in MESSAGES_NAMES:
            if name in names:
                return Form.DIALOGUE, (names[name],)
        for first, second in RESPONSE_NAMES:
            if first in names and second in names:
                about = [names[INPUT_NAME]] if first == "instruction" and INPUT_NAME in names else []
                return Form.PROMPT, (names[first], *about, names[second])
    chosen = choose(table, text=settings.text, text_pair=settings.text_pair, label=None, labelled=False)
    if settings.text_pair:
        return Form.PROMPT, (chosen.text, settings.text_pair)
    position = table.columns.index(chosen.text)
    is_of_lists = any(isinstance(row[position], list) for row in table.rows)
    return Form.DIALOGUE if is_of_lists else Form.TEXT, (chosen.text,)


def _running_text(table: Table, column: str) -> Reading:
    texts = [text.replace("\r\n", "\n") for text in raw_texts(table, column)]
    if not any(text.strip() for text in texts):
        raise DataError(f"{table.source} has no text in its column '{column}'; choose the column with data.text")
    rows = [Row(text, None, None, place) for text, place in zip(texts, table.places, strict=True)]
    return Reading(rows, f"running text from the column '{column}'")


def _prompts(table: Table, columns: Sequence[str]) -> Reading:
    *asked, answered = columns
    parts = [column_of_texts(table, column) for column in asked]
    rows, blank = [], []
    for *prompt, response, place in zip(*parts, column_of_texts(table, answered), table.places, strict=True):
        if prompt[0] and response:
            rows.append(Row("\n".join(filter(None, prompt)), response, None, place))
        else:
            blank.append(place)
    named = " and ".join(f"'{column}'" for column in asked)
    notes = blank_note(table, columns[0], blank)
    return Reading(rows, f"prompts from the column {named}, responses from '{answered}'", tuple(notes))


def _dialogues(table: Table, column: str) -> Reading:
    position = table.columns.index(column)
    rows = []
    for cells, place in zip(table.rows, table.places, strict=True):
        messages = _messages(cells[position], place, column)
        answers = list(_answers(messages))
        if not answers:
            raise DataError(
                f"{place}: the dialogue in the column '{column}' has no answer of the role '{ASSISTANT}' after another "
                "message; add one, or remove the row"
            )
        group = place if len(answers) > 1 else ""
        rows += [Row(text_of(before), said, None, place, group) for before, said in answers]
    return Reading(rows, f"dialogues from the column '{column}', an example for each answer of the role '{ASSISTANT}'")


def _answers(messages: Sequence[Message]) -> Iterator[tuple[Sequence[Message], str]]:
    """What the assistant says, each time with all that was said before."""
    for position, message in enumerate(messages):
        if message["role"] == ASSISTANT and position > 0 and message["content"].strip():
            yield messages[:position], message["content"]


def _messages(cell: Cell, place: str, column: str) -> list[Message]:
    if not isinstance(cell, list) or not all(map(_is_message, cell)):
        raise DataError(
            f"{place}: the column '{column}' holds {cell!r:.60}, no dialogue; write a list of messages, such as "
            '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]'
        )
    return [{"role": said["role"], "content": encodable(said["content"], place, column)} for said in cell]


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)


def _is_dialogue(text: str) -> bool:
    if not text.startswith('[{"'):
        return False
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return all(map(_is_message, found))
