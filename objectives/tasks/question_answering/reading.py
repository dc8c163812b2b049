"""From a table to questions, each with its context and with the pieces of it that answer the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoopt.objectives.data.cells import encodable
from autoopt.objectives.data.columns import ANSWERS_NAMES, CONTEXT_NAMES
from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.file_formats.squad import check_impossible
from autoopt.objectives.file_formats.table import MAX_CHARACTERS, Cell, Table
from autoopt.strategies.candidate import Span
from autoopt.strategies.errors import DataError, did_you_mean

QUESTION_NAMES = ("question", "query")
MISPLACED_SHARE = 0.05
"""Of the questions: where no more than these have an answer that is not at its start, they are put right."""
FORM = '{"text": ["Paris"], "answer_start": [17]}'


def read_answered(table: Table, settings: DataSettings) -> Reading:
    """Return a row for each question: the question, its context, and its answers, none where it has no answer in it.

    Answers are ``{"text": […], "answer_start": […]}`` or a list of objects with these two keys; a start counts
    characters. Rows of an article stay together when the data is split, and so do those of a context. Raises
    ``DataError`` with place and remedy for a question, a context or an answer that is missing, and for an answer that
    does not stand where it should.
    """
    columns = {
        "text": _column(table, "text", settings.text, QUESTION_NAMES, "questions"),
        "text_pair": _column(table, "text_pair", settings.text_pair, CONTEXT_NAMES, "contexts"),
        "label": _column(table, "label", settings.label, ANSWERS_NAMES, "answers"),
    }
    questions = _texts(table, columns["text"], "text")
    contexts = _texts(table, columns["text_pair"], "text_pair")
    cells, flags = _cells(table, columns["label"]), _cells(table, "is_impossible")
    given = []
    for cell, flag, place in zip(cells, flags, table.places, strict=True):
        given.append(() if cell is None and flag is True else _answers(cell, place, columns["label"]))
        check_impossible(flag, len(given[-1]), place)
    answers, notes = _placed(given, contexts, table)
    groups = _groups(contexts, _cells(table, "title"))
    rows = [
        Row(question.strip(), context, tuple(dict.fromkeys(spans)), place, group)
        for question, context, spans, place, group in zip(
            questions, contexts, answers, table.places, groups, strict=True
        )
    ]
    read = f"questions from the column '{columns['text']}', contexts from '{columns['text_pair']}', answers from"
    return Reading(rows, f"{read} '{columns['label']}'", (*notes, *_unanswered(rows)))


def _column(table: Table, key: str, given: str | None, usual: Sequence[str], what: str) -> str:
    names = {name.lower(): name for name in table.columns}
    found = given if given else next((names[name] for name in usual if name in names), None)
    listed = ", ".join(f"{name!r:.60}" for name in table.columns[:20])
    if found is None:
        raise DataError(
            f"{table.source} has no column that is known to hold {what}; its columns are {listed}; name one, for "
            f"example '{key}: COLUMN' under data"
        )
    if found not in table.columns:
        raise DataError(
            f"{table.source} has no column '{found}', which data.{key} names{did_you_mean(found, table.columns)}; its "
            f"columns are {listed}"
        )
    return found


def _cells(table: Table, column: str) -> list[Cell]:
    """The cells of a column, None in every row where there is no such column."""
    if column not in table.columns:
        return [None] * len(table.rows)
    position = table.columns.index(column)
    return [row[position] for row in table.rows]


def _texts(table: Table, column: str, key: str) -> list[str]:
    """The texts of a column as they are: a start counts the blanks before it, too."""
    found = []
    for cell, place in zip(_cells(table, column), table.places, strict=True):
        if not isinstance(cell, str) or not cell.strip():
            what = "is blank" if cell is None or isinstance(cell, str) else f"holds {cell!r:.60}, no text"
            raise DataError(
                f"{place}: the column '{column}' {what}; fill it in, remove the row, or choose another column with "
                f"data.{key}"
            )
        if len(cell) > MAX_CHARACTERS:
            raise DataError(
                f"{place}: the text has {len(cell):,} characters, at most {MAX_CHARACTERS:,} are read; shorten it"
            )
        found.append(encodable(cell, place, column))
    return found


def _answers(cell: Any, place: str, column: str) -> tuple[Span, ...]:
    """The answers of a cell, not yet compared with the context."""
    if isinstance(cell, Mapping) and isinstance(cell.get("text"), list) and isinstance(cell.get("answer_start"), list):
        texts, starts = cell["text"], cell["answer_start"]
        if len(texts) != len(starts):
            raise DataError(
                f"{place}: the column '{column}' has {len(texts)} texts and {len(starts)} starts; give each answer both"
            )
    elif isinstance(cell, list) and all(isinstance(item, Mapping) for item in cell):
        texts, starts = [item.get("text") for item in cell], [item.get("answer_start") for item in cell]
    else:
        raise DataError(
            f"{place}: the column '{column}' holds {cell!r:.60} where answers are needed, such as {FORM}; with empty "
            "lists for a question that has no answer"
        )
    return tuple(_span(text, start, place, column) for text, start in zip(texts, starts, strict=True))


def _span(text: Any, start: Any, place: str, column: str) -> Span:
    if not isinstance(text, str) or not text.strip():
        raise DataError(
            f"{place}: the column '{column}' has an answer without text; write it, or give empty lists where the "
            "question has no answer"
        )
    whole = isinstance(start, int | float) and not isinstance(start, bool) and float(start).is_integer()
    if not whole:
        raise DataError(
            f"{place}: the answer '{text:.60}' starts at {start!r:.60}; 'answer_start' is the number of characters "
            "before it in the context"
        )
    return Span(encodable(text, place, column), int(start))


def _placed(
    given: Sequence[tuple[Span, ...]], contexts: Sequence[str], table: Table
) -> tuple[list[tuple[Span, ...]], list[str]]:
    """The answers, each where its text stands; raises ``DataError`` for what cannot be, or for too many moves."""
    placed, moved = [], []
    for spans, context, place in zip(given, contexts, table.places, strict=True):
        placed.append(tuple(_nearest(span, context, place) for span in spans))
        if placed[-1] != spans:
            moved.append(place)
    if len(moved) > MISPLACED_SHARE * len(placed):
        raise DataError(
            f"{moved[0]}: the answer's text is not at its start in the context, and so in {len(moved):,} of "
            f"{len(placed):,} questions, the first of them here; 'answer_start' counts characters of the context, not "
            "bytes or words"
        )
    note = f"moved the answers of {len(moved):,} of {len(placed):,} questions to where their text stands, the first at "
    return placed, [note + moved[0]] if moved else []


def _nearest(span: Span, context: str, place: str) -> Span:
    """The answer at the occurrence of its text that is nearest to its start."""
    if not 0 <= span.start < len(context):
        raise DataError(
            f"{place}: the answer '{span.text:.60}' starts at {span.start}, outside the context of {len(context)} "
            "characters; correct 'answer_start'"
        )
    if context.startswith(span.text, span.start):
        return span
    before = context.rfind(span.text, 0, span.start + len(span.text) - 1)
    found = [start for start in (before, context.find(span.text, span.start)) if start >= 0]
    if not found:
        raise DataError(
            f"{place}: the answer '{span.text:.60}' does not occur in its context; correct it, or give empty lists "
            "where the context has no answer"
        )
    return Span(span.text, min(found, key=lambda start: abs(start - span.start)))


def _groups(contexts: Sequence[str], titles: Sequence[Cell]) -> list[str]:
    """The article of each row, the context itself where articles have no titles; a context has one group."""
    named = [title.strip() if isinstance(title, str) else "" for title in titles]
    if len(set(named)) < 3:  # As many as there are splits.
        return list(contexts)
    first: dict[str, str] = {}
    return [first.setdefault(context, name or context) for context, name in zip(contexts, named, strict=True)]


def _unanswered(rows: Sequence[Row]) -> list[str]:
    count = sum(row.label == () for row in rows)
    return [f"{count:,} of {len(rows):,} questions have no answer in their context"] if count else []
