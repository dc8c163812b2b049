"""SQuAD's own file format, 1.1 and 2.0: articles, their paragraphs, and the questions on each, as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoopt.objectives.file_formats.table import Cell, Table
from autoopt.strategies.errors import DataError

COLUMNS = ("id", "question", "context", "answers", "title")
FORM = '{"data": [{"title": …, "paragraphs": [{"context": …, "qas": [{"question": …, "answers": […]}]}]}]}'


def is_squad(document: Any) -> bool:
    """True for what a SQuAD file holds: an object whose ``data`` are articles with ``paragraphs``."""
    articles = document.get("data") if isinstance(document, dict) else None
    return isinstance(articles, list) and any(isinstance(item, dict) and "paragraphs" in item for item in articles)


def table(path: Path, document: Mapping[str, Any]) -> Table:
    """Return a row for each question; ``answers`` is a list of objects with ``text`` and ``answer_start``.

    A place reads ``train.json: data[3].paragraphs[0].qas[2]``. Raises ``DataError`` where the document has not SQuAD's
    form.
    """
    rows, places = [], []
    for place, row in _questions(document, f"{path}: "):
        rows.append(row)
        places.append(place)
    return Table(str(path), COLUMNS, rows, places)


def check_impossible(flag: Any, answers: int, place: str) -> None:
    """Raise ``DataError`` where ``is_impossible`` contradicts the number of answers; None says nothing."""
    if not isinstance(flag, bool | None):
        raise DataError(f"{place}: 'is_impossible' is {flag!r:.60}; it is true, false or left out")
    if flag is True and answers:
        raise DataError(
            f"{place}: 'is_impossible' is true, and the question has {answers} answers; remove them, or write false"
        )
    if flag is False and not answers:
        raise DataError(f"{place}: 'is_impossible' is false, and the question has no answer; add one, or write true")


def _questions(document: Mapping[str, Any], where: str) -> Iterator[tuple[str, list[Cell]]]:
    for article, at in _items(document, "data", where):
        for paragraph, inside in _items(article, "paragraphs", f"{at}."):
            context = _text(paragraph, "context", inside)
            for question, place in _items(paragraph, "qas", f"{inside}."):
                answers = [answer for answer, _ in _items(question, "answers", f"{place}.", needed=_needs_answers)]
                check_impossible(question.get("is_impossible"), len(answers), place)
                text = _text(question, "question", place)
                yield place, [question.get("id"), text, context, answers, article.get("title")]


def _needs_answers(question: Mapping[str, Any]) -> bool:
    return question.get("is_impossible") is not True


def _items(
    parent: Mapping[str, Any], name: str, where: str, *, needed: Any = lambda _: True
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each object of the list ``name`` with its place; raises ``DataError`` where there is no such list."""
    found = parent.get(name)
    if found is None and not needed(parent):
        return
    if not isinstance(found, list):
        raise DataError(f"{where}{name} holds {_shown(found)} where a list is needed; the form is {FORM}")
    for number, item in enumerate(found):
        place = f"{where}{name}[{number}]"
        if not isinstance(item, dict):
            raise DataError(f"{place} is {_shown(item)} where an object is needed; the form is {FORM}")
        yield item, place


def _text(parent: Mapping[str, Any], name: str, place: str) -> str:
    found = parent.get(name)
    if not isinstance(found, str):
        raise DataError(f"{place}: '{name}' is {_shown(found)} where a text is needed; the form is {FORM}")
    return found


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{value!r:.60}"
