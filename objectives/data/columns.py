"""Which columns hold the text and the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoopt.objectives.file_formats.table import Table
from autoopt.strategies.errors import DataError, did_you_mean

TEXT_NAMES = (
    *("text", "sentence", "content", "document", "review", "utterance", "query", "message", "body", "comment", "tweet"),
    *("article", "description", "question", "title"),
)
"""Names of a column of texts, the likeliest first."""
PAIR_NAMES = (
    *(("text", "text_pair"), ("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2")),
    *(("text1", "text2"), ("text_a", "text_b"), ("sentence_a", "sentence_b"), ("question", "sentence")),
)
"""Names of two columns that are read together."""
LABEL_NAMES = (
    *("label", "labels", "intent", "class", "category", "target", "sentiment", "topic", "emotion", "section"),
    *("label_text", "class_name", "y"),
)
"""Names of a column of labels, the likeliest first."""


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are used."""

    text: str
    text_pair: str | None
    label: str | None


def choose(
    table: Table, *, text: str | None, text_pair: str | None, label: str | None, labelled: bool = True
) -> Columns:
    """Return the columns: those that are given, else those with a usual name.

    Raises ``DataError`` with the columns that there are where one is missing or cannot be found.
    """
    for key, name in (("text", text), ("text_pair", text_pair), ("label", label if labelled else None)):
        if name is not None and name not in table.columns:
            raise DataError(
                f"{table.source} has no column '{name}', which data.{key} names"
                f"{did_you_mean(name, table.columns)}; its columns are {_listed(table.columns)}"
            )
    chosen = (text, text_pair) if text else _find_text(table, text_pair)
    return Columns(chosen[0], chosen[1], (label or _find_label(table)) if labelled else None)


def _find_text(table: Table, text_pair: str | None) -> tuple[str, str | None]:
    names = {name.lower(): name for name in table.columns}
    if text_pair is None:
        for first, second in PAIR_NAMES:
            if first in names and second in names:
                return names[first], names[second]
    for name in TEXT_NAMES:
        if name in names and names[name] != text_pair:
            return names[name], text_pair
    raise DataError(
        f"{table.source} has no column that is known to hold texts; its columns are {_listed(table.columns)}; "
        "name one, for example 'text: COLUMN' under data"
    )


def _find_label(table: Table) -> str:
    names = {name.lower(): name for name in table.columns}
    for name in LABEL_NAMES:
        if name in names:
            return names[name]
    raise DataError(
        f"{table.source} has no column that is known to hold labels; its columns are {_listed(table.columns)}; "
        "name one, for example 'label: COLUMN' under data"
    )


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(f"{name!r:.60}" for name in columns[:20])
    return f"{shown} and {len(columns) - 20} more" if len(columns) > 20 else shown


CONTEXT_NAMES = ("context", "passage", "paragraph", "document", "text")


ANSWERS_NAMES = ("answers", "answer")


WORD_NAMES = ("tokens", "words", "token", "word")
"""Names of a column of lists of words, the likeliest first."""
