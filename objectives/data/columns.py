"""Which columns of a table hold texts and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoopt.objectives.tables.table import TEXT_COLUMN, Table
from autoopt.strategies.errors import DataError, did_you_mean

# Usual names of each kind of column, the likeliest first.
TEXT_NAMES = (
    *("text", "sentence", "content", "document", "review", "utterance", "query", "message", "body", "comment", "tweet"),
    *("article", "description", "question", "title", "data"),
)
PAIR_NAMES = (
    *(("text", "text_pair"), ("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2")),
    *(("text1", "text2"), ("text_a", "text_b"), ("sentence_a", "sentence_b"), ("question", "sentence")),
)
"""Names of two columns that are read together."""
LABEL_NAMES = (
    *("label", "labels", "intent", "class", "category", "target", "sentiment", "topic", "emotion", "section"),
    *("label_text", "class_name", "gold_label", "y"),
)
CONTEXT_NAMES = ("context", "passage", "paragraph", "document", "text")
"""Names of a column of texts that questions are about."""
ANSWERS_NAMES = ("answers", "answer")
WORD_NAMES = ("tokens", "words", "token", "word")
"""Names of a column of lists of words."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns in use."""

    text: str
    text_pair: str | None
    label: str | None


def choose_columns(
    table: Table, *, text: str | None, text_pair: str | None, label: str | None, labelled: bool = True
) -> Columns:
    """Return the columns with these names, by default those with usual names.

    Raises ``DataError``, which lists the columns of the table, if one does not exist or cannot be found.
    """
    for key, name in (("text", text), ("text_pair", text_pair), ("label", label if labelled else None)):
        if name is not None:
            _check_exists(table, name, key)
    if not text and text_pair is None:
        names = _names(table)
        pair = next((pair for pair in PAIR_NAMES if set(pair) <= set(names)), None)
        text, text_pair = (names[pair[0]], names[pair[1]]) if pair else (None, None)
    usual_texts = [name for name in TEXT_NAMES if _names(table).get(name) != text_pair]
    return Columns(
        find_column(table, usual_texts, key="text", setting=text, content="texts"),
        text_pair,
        find_column(table, LABEL_NAMES, key="label", setting=label, content="labels") if labelled else None,
    )


def find_column(table: Table, usual: Sequence[str], *, key: str, setting: str | None, content: str) -> str:
    """Return the column named by ``setting``, the value of ``data.<key>``, else the one with the likeliest usual name.

    Raises ``DataError``, which lists the columns of the table, if there is none; ``content`` is what the column should
    hold.
    """
    if setting:
        _check_exists(table, setting, key)
        return setting
    column = usual_column(table, usual)
    if column is None and table.columns == (TEXT_COLUMN,) and key == "label":
        raise DataError(
            f"{table.source} holds texts without {content}; give a file with a column of {content}, or a folder with a "
            "folder of .txt files for each class"
        )
    words = usual_column(table, WORD_NAMES)
    if column is None and words and content in ("texts", "labels") and _holds_lists(table, words):
        raise DataError(
            f"{table.source} holds lists of words, and no {content} for them; write 'task: token_classification' if "
            f"each word has a tag, or name a column of {content} with data.{key}; it has {_listed(table.columns)}"
        )
    if column is None:
        raise DataError(
            f"{table.source} has no column that is known to hold {content}; its columns are {_listed(table.columns)}; "
            f"name one, for example '{key}: COLUMN' under data"
        )
    return column


def usual_column(table: Table, usual: Sequence[str]) -> str | None:
    """Return the column with the first of these names that occurs, in any case; None if none occurs."""
    names = _names(table)
    return next((names[name] for name in usual if name in names), None)


def _holds_lists(table: Table, column: str) -> bool:
    position = table.columns.index(column)
    return any(isinstance(row[position], list) for row in table.rows[:100])


def _names(table: Table) -> dict[str, str]:
    return {name.lower(): name for name in table.columns}


def _check_exists(table: Table, name: str, key: str) -> None:
    if name not in table.columns:
        raise DataError(
            f"{table.source} has no column '{name}', which data.{key} names{did_you_mean(name, table.columns)}; "
            f"its columns are {_listed(table.columns)}"
        )


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(f"{name!r:.60}" for name in columns[:20])
    return f"{shown} and {len(columns) - 20} more" if len(columns) > 20 else shown
