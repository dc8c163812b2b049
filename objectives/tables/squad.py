"""The SQuAD 1.1 and 2.0 layout of a JSON document: articles, their paragraphs, and the questions on each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoopt.objectives.tables.table import Cell, Table
from autoopt.strategies.errors import DataError

COLUMNS = ("id", "question", "context", "answers", "title")
FORM = '{"data": [{"title": …, "paragraphs": [{"context": …, "qas": [{"question": …, "answers": […]}]}]}]}'


def is_squad(document: Any) -> bool:
    """Return whether ``document`` is an object whose ``data`` lists articles with ``paragraphs``."""
    articles = document.get("data") if isinstance(document, dict) else None
    return isinstance(articles, list) and any(isinstance(item, dict) and "paragraphs" in item for item in articles)


def question_table(path: Path, document: Mapping[str, Any]) -> Table:
    """Return a row for each question; ``answers`` is a list of objects with ``text`` and ``answer_start``.

    A place reads ``train.json: data[3].paragraphs[0].qas[2]``. Raises ``DataError`` if the layout is not SQuAD's.
    """
    rows, places = [], []
    for place, row in _questions(document, f"{path}: "):
        rows.append(row)
        places.append(place)
    return Table(str(path), COLUMNS, rows, places)


def check_impossible(flag: Any, answers: int, place: str) -> None:
    """Raise ``DataError`` if ``is_impossible`` contradicts the number of answers; None means it is not given."""
    if not isinstance(flag, bool | None):
        raise DataError(f"{place}: 'is_impossible' is {flag!r:.60}; it is true, false or left out")
    if flag is True and answers:
        raise DataError(
            f"{place}: 'is_impossible' is true, and the question has {answers} answers; remove them, or write false"
        )
    if flag is False and not answers:
        raise DataError(f"{place}: 'is_impossible' is false, and the question has no answer; add one, or write true")


def _questions(document: Mapping[str, Any], root: str) -> Iterator[tuple[str, list[Cell]]]:
    for article, article_place in _items(document, "data", root):
        for paragraph, paragraph_place in _items(article, "paragraphs", f"{article_place}."):
            context = _text(paragraph, "context", paragraph_place)
            for question, place in _items(paragraph, "qas", f"{paragraph_place}."):
                is_impossible = question.get("is_impossible")
                answers = _items(question, "answers", f"{place}.", optional=is_impossible is True)
                spans: list[Any] = [answer for answer, _ in answers]
                check_impossible(is_impossible, len(spans), place)
                text = _text(question, "question", place)
                yield place, [question.get("id"), text, context, spans, article.get("title")]


def _items(
    parent: Mapping[str, Any], name: str, prefix: str, *, optional: bool = False
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each object of the list ``name`` with its place. Raises ``DataError`` if it is not a list of objects."""
    items = parent.get(name)
    if items is None and optional:
        return
    if not isinstance(items, list):
        raise DataError(f"{prefix}{name} holds {_shown(items)} where a list is needed; the form is {FORM}")
    for number, item in enumerate(items):
        place = f"{prefix}{name}[{number}]"
        if not isinstance(item, dict):
            raise DataError(f"{place} is {_shown(item)} where an object is needed; the form is {FORM}")
        yield item, place


def _text(parent: Mapping[str, Any], name: str, place: str) -> str:
    text = parent.get(name)
    if not isinstance(text, str):
        raise DataError(f"{place}: '{name}' is {_shown(text)} where a text is needed; the form is {FORM}")
    return text


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{value!r:.60}"
