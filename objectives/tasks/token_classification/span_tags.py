"""Entities as spans of characters, turned into a tag for each word."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoopt.objectives.annotations.spans import TextSpan, is_span, parse_span
from autoopt.objectives.data.cells import cell_text
from autoopt.objectives.data.columns import TEXT_NAMES, find_column, usual_column
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.tables.table import Table
from autoopt.objectives.tasks.token_classification.words import Word, split_words
from autoopt.strategies.errors import DataError
from autoopt.strategies.texts.tag_schemes import OUTSIDE

SPAN_NAMES = ("spans", "entities", "label", "labels", "ner", "annotations")
"""Usual names of a column of spans, the likeliest first."""
MAX_OUTSIDE_SHARE = 0.05
"""Maximum share of spans that lie outside their text; above it the offsets do not count its characters."""
COLUMNS = ("tokens", "tags")
_MOVED, _OVERLAPPING, _OUTSIDE, _WORDLESS, _UNTYPED = "moved", "overlapping", "outside", "wordless", "untyped"
_REASONS = {
    _OVERLAPPING: "overlap a longer one",
    _OUTSIDE: "lie outside their text",
    _WORDLESS: "cover no word by more than half",
    _UNTYPED: "have no type",
}


def span_column(table: Table, settings: DataSettings) -> str | None:
    """Return the column of spans: the one that ``data.label`` names, or one with a usual name; None if none holds any.

    A span is ``[start, end, type]`` or an object with these keys; offsets count characters.
    """
    names = (settings.label,) if settings.label else tuple(usual_column(table, (name,)) for name in SPAN_NAMES)
    return next((name for name in names if name in table.columns and holds_spans(table, str(name))), None)


def holds_spans(table: Table, column: str) -> bool:
    """Return whether all cells of a column are lists of spans or missing, and some have spans."""
    position = table.columns.index(column)
    cells = [row[position] for row in table.rows if row[position] is not None]
    return any(cells) and all(isinstance(cell, list) and all(map(is_span, cell)) for cell in cells)


def with_span_tags(table: Table, spans: str, settings: DataSettings) -> tuple[Table, list[str], list[str]]:
    """Return a table with the words of each text and their BIO tags in ``COLUMNS``, warnings, and bad rows.

    A span has the words that it covers by more than half; one that shares a word with a longer span, or covers none, is
    left out. Raises ``DataError`` if many spans are outside their texts.
    """
    text_column = find_column(table, TEXT_NAMES, key="text", setting=settings.text, content="texts")
    text_position, span_position = table.columns.index(text_column), table.columns.index(spans)
    faults, rows, places, bad = Counter[str](), [], [], []
    first: dict[str, str] = {}
    count = 0
    for row, place in zip(table.rows, table.places, strict=True):
        try:
            text, cell = cell_text(row[text_position], place, text_column), row[span_position]
        except DataError as error:
            bad.append(str(error))
            continue
        parsed = [parse_span(item, text) for item in cell] if isinstance(cell, list) else []
        words = split_words(text)
        tags, of_row = _tagged(words, parsed, text)
        count += len(parsed)
        faults.update(of_row)
        for fault in of_row:
            first.setdefault(fault, place)
        places.append(place)
        rows.append([*row, [word.text for word in words], tags])
    if faults[_OUTSIDE] > MAX_OUTSIDE_SHARE * count:
        count_outside = f"{faults[_OUTSIDE]:,} of {count:,} spans"
        raise DataError(
            f"{first[_OUTSIDE]}: {count_outside} in the column '{spans}' are outside their text, "
            "the first of them here; start and end count characters of the text, not bytes or words"
        )
    kept = [name for name in table.columns if name not in COLUMNS]
    positions = [table.columns.index(name) for name in kept]
    tagged = [[*(row[position] for position in positions), *row[-2:]] for row in rows]
    warnings = _warnings(faults, first, count)
    return replace(table, columns=(*kept, *COLUMNS), rows=tagged, places=places), warnings, bad


def _tagged(words: Sequence[Word], spans: Sequence[TextSpan], text: str) -> tuple[list[str], list[str]]:
    """Return the tags of the words, and what is wrong with the spans."""
    tags, faults = [OUTSIDE] * len(words), []
    starts = [word.start for word in words]
    for span in sorted(spans, key=lambda span: (span.start - span.end, span.start)):
        if not 0 <= span.start < span.end <= len(text):
            faults.append(_OUTSIDE)
            continue
        covered = _covered(words, starts, span)
        fault = _fault(words, covered, tags, span, text)
        if fault:
            faults.append(fault)
        if covered and fault in (None, _MOVED):
            tags[covered.start] = f"B-{span.type}"
            for index in covered[1:]:
                tags[index] = f"I-{span.type}"
    return tags, faults


def _covered(words: Sequence[Word], starts: Sequence[int], span: TextSpan) -> range:
    """Return the words of which more than half lies in the span."""
    low = max(0, bisect.bisect_right(starts, span.start) - 1)
    high = bisect.bisect_left(starts, span.end)
    while low < high and not _is_covered(words[low], span):
        low += 1
    while low < high and not _is_covered(words[high - 1], span):
        high -= 1
    return range(low, high)


def _is_covered(word: Word, span: TextSpan) -> bool:
    return 2 * (min(span.end, word.end) - max(span.start, word.start)) > word.end - word.start


def _fault(words: Sequence[Word], covered: range, tags: Sequence[str], span: TextSpan, text: str) -> str | None:
    if not span.type:
        return _UNTYPED
    if not covered:
        return _WORDLESS
    if any(tags[index] != OUTSIDE for index in covered):
        return _OVERLAPPING
    content = text[span.start : span.end]
    start, end = span.end - len(content.lstrip()), span.start + len(content.rstrip())
    return None if (words[covered[0]].start, words[covered[-1]].end) == (start, end) else _MOVED


def _warnings(faults: Counter[str], first: Mapping[str, str], count: int) -> list[str]:
    warnings = []
    if moved := faults[_MOVED]:
        warnings.append(
            f"moved {moved:,} of {count:,} spans to the borders of words, the first at {first[_MOVED]}: tags are for "
            "whole words"
        )
    warnings += [
        f"left out {faults[fault]:,} of {count:,} spans, which {reason}, the first at {first[fault]}"
        for fault, reason in _REASONS.items()
        if faults[fault]
    ]
    return warnings
