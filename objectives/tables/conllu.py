"""Lines of a CoNLL-U file: ten columns for each word of a sentence, of which several may be the tag."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice

from autoopt.objectives.tables.table import Cell, Table
from autoopt.strategies.errors import DataError

NAMES = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""Columns of a file without a line ``# global.columns``, which CoNLL-U Plus has."""
GLOBAL_COLUMNS = "# global.columns ="
NEW_DOCUMENT = "# newdoc"
_NOT_TAGS = frozenset({"id", "form", "lemma", "head", "deps", "misc"})
_WORD, _RANGE, _EMPTY = re.compile(r"\d+"), re.compile(r"\d+-\d+"), re.compile(r"\d+\.\d+")


def is_conllu(lines: Iterable[str]) -> bool:
    """Return whether lines name their columns, or the first that is no comment has ten and begins with a number."""
    for line in islice(lines, 1000):
        if line.startswith(GLOBAL_COLUMNS):
            return True
        if line and not line.startswith("#"):
            fields = line.split("\t")
            return len(fields) == len(NAMES) and re.fullmatch(r"[01]([-.]\d+)?", fields[0]) is not None
    return False


def conllu_table(source: str, numbered: Sequence[tuple[int, str]]) -> Table:
    """Return a row for each sentence: its words in ``tokens``, its document, and lists of ``upos`` and others.

    The words are those of the syntax: of ``1-2 zum``, ``1 zu``, ``2 dem`` the last two. Empty nodes such as ``8.1`` are
    left out. Raises ``DataError``.
    """
    names = _column_names(source, numbered)
    kept = [names.index("form"), *(position for position, name in enumerate(names) if name not in _NOT_TAGS)]
    rows: list[list[Cell]] = []
    places: list[str] = []
    sentence: list[list[str]] = []
    document: int | None = None
    ranges = empty_nodes = first = 0
    known: dict[str, str] = {}
    for number, line in (*numbered, (0, "")):
        if line.startswith("#") and not sentence:
            document = (document or 0) + 1 if line.startswith(NEW_DOCUMENT) else document
        elif line:
            fields = _fields(source, number, line, len(names))
            first = first if sentence else number
            ranges += _RANGE.fullmatch(fields[0]) is not None
            empty_nodes += _EMPTY.fullmatch(fields[0]) is not None
            if _WORD.fullmatch(fields[0]):
                # Few different tags occur many times: each is kept once.
                sentence.append([known.setdefault(fields[position], fields[position]) for position in kept])
        elif sentence:
            tokens, *tags = (list(column) for column in zip(*sentence, strict=True))
            rows.append([tokens, document, *tags])
            places.append(f"{source}:{first}")
            sentence = []
    if not rows:
        raise DataError(f"{source} holds no sentence; it needs a line of {len(names)} columns for each word")
    columns = tuple(names[position] for position in kept[1:])
    return Table(source, ("tokens", "document", *columns), rows, places, _notes(columns, ranges, empty_nodes))


def _column_names(source: str, numbered: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    named = next((line for _, line in numbered[:1000] if line.startswith(GLOBAL_COLUMNS)), None)
    if named is None:
        return NAMES
    names = tuple(name.lower() for name in named.removeprefix(GLOBAL_COLUMNS).split())
    if names[:1] != ("id",) or "form" not in names or len(set(names)) < len(names):
        raise DataError(f"{source}: '{named:.100}' must name ID first, FORM, and each column once")
    return names


def _fields(source: str, number: int, line: str, width: int) -> list[str]:
    fields = line.split("\t")
    if len(fields) != width or not re.fullmatch(r"\d+([-.]\d+)?", fields[0]):
        raise DataError(
            f"{source}:{number}: {len(fields)} columns that begin with {fields[0]!r:.40}, where the lines of this file "
            f"in CoNLL-U have {width}, separated by tabs, the first of them a number; correct the line, or remove it"
        )
    return fields


def _notes(columns: Sequence[str], ranges: int, empty_nodes: int) -> tuple[str, ...]:
    notes = [f"the file is CoNLL-U; data.label may name {', '.join(columns)}"]
    if ranges or empty_nodes:
        notes.append(f"left out {ranges:,} ranges of words, whose parts are read, and {empty_nodes:,} empty nodes")
    return tuple(notes)
