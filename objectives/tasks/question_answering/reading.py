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
    characters. Rows of an article, and of a context, are a group. Raises ``DataError`` with place and remedy for a
    question, context or answer that is missing, and for an answer that is not in its context.
    """
    question_column = find_column(table, QUESTION_NAMES, key="text", setting=settings.text, content="questions")
    context_column = find_column(table, CONTEXT_NAMES, key="text_pair", setting=settings.text_pair, content="contexts")
    answers_column = find_column(table, ANSWERS_NAMES, key="label", setting=settings.label, content="answers")
    questions = _texts(table, question_column, "text")
    contexts = _texts(table, context_column, "text_pair")
    answers, notes = _moved_to_text(_all_answers(table, answers_column), contexts, table)
    groups = _groups(contexts, _cells(table, "title"))
    rows = [
        Row(question.strip(), context, tuple(dict.fromkeys(spans)), place, group)
        for question, context, spans, place, group in zip(
            questions, contexts, answers, table.places, groups, strict=True
        )
    ]
    columns = f"questions from the column '{question_column}', contexts from '{context_column}', answers from"
    return Reading(rows, f"{columns} '{answers_column}'", (*notes, *_unanswerable_notes(rows)))


def _cells(table: Table, column: str) -> list[Cell]:
    """Return the cells of a column; None for every row if there is no such column."""
    if column not in table.columns:
        return [None] * len(table.rows)
    position = table.columns.index(column)
    return [row[position] for row in table.rows]


def _texts(table: Table, column: str, key: str) -> list[str]:
    """Return the texts of a column unchanged, since starts count the blanks before a text too."""
    texts = []
    for cell, place in zip(_cells(table, column), table.places, strict=True):
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
        texts.append(check_encodable(cell, place, column))
    return texts


def _all_answers(table: Table, column: str) -> list[tuple[Span, ...]]:
    """Return the answers of each row, not yet compared with its context."""
    answers = []
    cells, flags = _cells(table, column), _cells(table, "is_impossible")
    for cell, flag, place in zip(cells, flags, table.places, strict=True):
        spans = () if cell is None and flag is True else _answers(cell, place, column)
        check_impossible(flag, len(spans), place)
        answers.append(spans)
    return answers


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


def _moved_to_text(
    answers: Sequence[tuple[Span, ...]], contexts: Sequence[str], table: Table
) -> tuple[list[tuple[Span, ...]], list[str]]:
    """Return the answers, each at an occurrence of its text, and a note on those that were moved there.

    Raises ``DataError`` if too many are, or if a text does not occur in its context.
    """
    corrected, moved_places = [], []
    for spans, context, place in zip(answers, contexts, table.places, strict=True):
        corrected.append(tuple(_nearest_occurrence(span, context, place) for span in spans))
        if corrected[-1] != spans:
            moved_places.append(place)
    if not moved_places:
        return corrected, []
    first, moved, total = moved_places[0], len(moved_places), len(corrected)
    if moved > MAX_MISPLACED_SHARE * total:
        raise DataError(
            f"{first}: the answer's text is not at its start in the context, and so in {moved:,} of {total:,} "
            "questions, the first of them here; 'answer_start' counts characters of the context, not bytes or words"
        )
    note = f"moved the answers of {moved:,} of {total:,} questions to where their text stands, the first at {first}"
    return corrected, [note]


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
