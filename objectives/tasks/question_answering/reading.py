"""From a table to questions, each with its context and with the spans of it that answer the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoopt.objectives.data.cells import check_encodable
from autoopt.objectives.data.columns import ANSWERS_NAMES, CONTEXT_NAMES, find_column
from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.tables.squad import check_impossible
from autoopt.objectives.tables.table import MAX_CHARACTERS, Cell, Table
from autoopt.strategies.candidate import Span
from autoopt.strategies.errors import DataError

QUESTION_NAMES = ("question", "query")
MAX_MISPLACED_SHARE = 0.05
"""Maximum share of questions whose answers are moved because they are not at their start."""
FORM = '{"text": ["Paris"], "answer_start": [17]}'


def read_questions(table: Table, settings: DataSettings) -> Reading:
    """Return a row for each question with its context and answers; none if the context has no answer.

    Answers are ``{"text": […], "answer_start": […]}`` or a list of objects with these two keys; a start counts
    characters. Rows of an article, and of a context, are a group. A row is bad if its question, context or answer is
    missing, or an answer is not in its context. Raises ``DataError`` if a column cannot be found.
    """
    question_column = find_column(table, QUESTION_NAMES, key="text", setting=settings.text, content="questions")
    context_column = find_column(table, CONTEXT_NAMES, key="text_pair", setting=settings.text_pair, content="contexts")
    answers_column = find_column(table, ANSWERS_NAMES, key="label", setting=settings.label, content="answers")
    columns_read = zip(
        *(_cells(table, name) for name in (question_column, context_column, answers_column, "is_impossible", "title")),
        table.places,
        strict=True,
    )
    read: list[tuple[str, str, tuple[Span, ...], tuple[Span, ...], Cell, str]] = []
    bad: list[str] = []
    for question, context, answers, flag, title, place in columns_read:
        try:
            text = _text(question, place, question_column, "text").strip()
            passage = _text(context, place, context_column, "text_pair")
            spans = _all_answers(answers, flag, place, answers_column)
            corrected = tuple(_nearest_occurrence(span, passage, place) for span in spans)
        except DataError as error:
            bad.append(str(error))
        else:
            read.append((text, passage, spans, corrected, title, place))
    notes = _moved_notes([place for *_, spans, corrected, _, place in read if spans != corrected], len(read))
    groups = _groups([passage for _, passage, *_ in read], [title for *_, title, _ in read])
    rows = [
        Row(text, passage, tuple(dict.fromkeys(corrected)), place, group)
        for (text, passage, _, corrected, _, place), group in zip(read, groups, strict=True)
    ]
    columns = f"questions from the column '{question_column}', contexts from '{context_column}', answers from"
    return Reading(rows, f"{columns} '{answers_column}'", (*notes, *_unanswerable_notes(rows)), bad_rows=tuple(bad))


def _cells(table: Table, column: str) -> list[Cell]:
    """Return the cells of a column; None for every row if there is no such column."""
    if column not in table.columns:
        return [None] * len(table.rows)
    position = table.columns.index(column)
    return [row[position] for row in table.rows]


def _text(cell: Cell, place: str, column: str, key: str) -> str:
    """Return the text of a cell unchanged, since starts count the blanks before a text too."""
    if not isinstance(cell, str) or not cell.strip():
        problem = "is blank" if cell is None or isinstance(cell, str) else f"holds {cell!r:.60}, no text"
        raise DataError(
            f"{place}: the column '{column}' {problem}; fill it in, remove the row, or choose another column with "
            f"data.{key}"
        )
    if len(cell) > MAX_CHARACTERS:
        raise DataError(
            f"{place}: the text has {len(cell):,} characters, at most {MAX_CHARACTERS:,} are read; shorten it"
        )
    return check_encodable(cell, place, column)


def _all_answers(cell: Cell, flag: Cell, place: str, column: str) -> tuple[Span, ...]:
    """Return the answers of a row, not yet compared with its context."""
    spans = () if cell is None and flag is True else _answers(cell, place, column)
    check_impossible(flag, len(spans), place)
    return spans


def _answers(cell: Any, place: str, column: str) -> tuple[Span, ...]:
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
            f"{place}: the column '{column}' has an answer without text; write it, or give empty lists if the "
            "question has no answer"
        )
    is_whole = isinstance(start, int | float) and not isinstance(start, bool) and float(start).is_integer()
    if not is_whole:
        raise DataError(
            f"{place}: the answer '{text:.60}' starts at {start!r:.60}; 'answer_start' is the number of characters "
            "before it in the context"
        )
    return Span(check_encodable(text, place, column), int(start))


def _moved_notes(places: Sequence[str], total: int) -> list[str]:
    """Return a note on the questions whose answers were moved to their text. Raises ``DataError`` if too many are."""
    if not places:
        return []
    if len(places) > MAX_MISPLACED_SHARE * total:
        raise DataError(
            f"{places[0]}: the answer's text is not at its start in the context, and so in {len(places):,} of "
            f"{total:,} questions, the first of them here; 'answer_start' counts characters of the context, not bytes "
            "or words"
        )
    moved = f"{len(places):,} of {total:,} questions"
    return [f"moved the answers of {moved} to where their text stands, the first at {places[0]}"]


def _nearest_occurrence(span: Span, context: str, place: str) -> Span:
    """Return the occurrence of the answer's text that is nearest to its start."""
    if not 0 <= span.start < len(context):
        raise DataError(
            f"{place}: the answer '{span.text:.60}' starts at {span.start}, outside the context of {len(context)} "
            "characters; correct 'answer_start'"
        )
    if context.startswith(span.text, span.start):
        return span
    before = context.rfind(span.text, 0, span.start + len(span.text) - 1)
    starts = [start for start in (before, context.find(span.text, span.start)) if start >= 0]
    if not starts:
        raise DataError(
            f"{place}: the answer '{span.text:.60}' does not occur in its context; correct it, or give empty lists "
            "if the context has no answer"
        )
    return Span(span.text, min(starts, key=lambda start: abs(start - span.start)))


def _groups(contexts: Sequence[str], titles: Sequence[Cell]) -> list[str]:
    """Return the article of each row, or its context if there are fewer articles than splits.

    Rows of one context are in the same group.
    """
    names = [title.strip() if isinstance(title, str) else "" for title in titles]
    if len(set(names)) < 3:
        return list(contexts)
    group_of: dict[str, str] = {}
    return [group_of.setdefault(context, name or context) for context, name in zip(contexts, names, strict=True)]


def _unanswerable_notes(rows: Sequence[Row]) -> list[str]:
    count = sum(row.label == () for row in rows)
    return [f"{count:,} of {len(rows):,} questions have no answer in their context"] if count else []
