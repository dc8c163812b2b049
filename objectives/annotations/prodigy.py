"""Annotations of Prodigy: texts with an ``answer``, and choices, a class or spans that the answer is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from autoopt.objectives.annotations.records import LABEL, SPANS, TEXT, Converted, Record

ANSWERS = ("accept", "reject", "ignore")


def convert(records: Sequence[Record], places: Sequence[str]) -> Converted | None:
    """Return the accepted records; None unless each record has a text and one of Prodigy's answers.

    Ignored and rejected ones are left out with a warning, since what was rejected is no label. Only where all
    questions are about the same one class does a rejected text have no class, and stays.
    """
    if not all(isinstance(record.get(TEXT), str) and record.get("answer") in ANSWERS for record in records):
        return None
    is_binary = _is_binary(records)
    kept = [
        (_plain(record), place)
        for record, place in zip(records, places, strict=True)
        if record["answer"] == "accept" or (is_binary and record["answer"] == "reject")
    ]
    notes = [f"a rejected text does not have the class '{records[0][LABEL]}'"] if is_binary else []
    counts = Counter(record["answer"] for record in records)
    left_out = [f"{counts[answer]:,} '{answer}'" for answer in ANSWERS[1 + is_binary :] if counts[answer]]
    warnings = []
    if left_out:
        warnings.append(
            f"left out {len(records) - len(kept):,} of {len(records):,} rows that Prodigy's user answered with "
            f"{' and '.join(left_out)}, which is no label"
        )
    return Converted([record for record, _ in kept], [place for _, place in kept], tuple(notes), tuple(warnings))


def _is_binary(records: Sequence[Record]) -> bool:
    """Return whether all records ask for the same class, accepted or rejected, and for no spans and choices."""
    asked = {record.get(LABEL) for record in records if isinstance(record.get(LABEL), str | None)}
    is_plain = not any("accept" in record or record.get(SPANS) for record in records)
    return is_plain and len(asked) == 1 and None not in asked and any(item["answer"] == "reject" for item in records)


def _plain(record: Record) -> dict[str, Any]:
    plain = {name: cell for name, cell in record.items() if name not in (*_OF_PRODIGY, LABEL) and name[:1] != "_"}
    if "accept" in record:
        plain[LABEL] = [str(choice) for choice in record["accept"] or ()]
    elif LABEL in record:
        plain[LABEL] = [record[LABEL]] if record["answer"] == "accept" else []
    if SPANS in record:
        plain[SPANS] = record[SPANS] or []
    return plain


_OF_PRODIGY = ("answer", "accept", "options", "tokens", "config", SPANS)
"""Keys that hold no data of the text."""
