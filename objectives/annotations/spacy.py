"""Training data of spaCy: ``[["text", {"entities": [[0, 4, "PER"]], "cats": {"POSITIVE": 1.0}}], ...]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoopt.objectives.annotations.records import LABEL, SPANS, TEXT, Converted, Record, classes_of_cats, is_cats

CATS, ENTITIES = "cats", "entities"


def spacy_record(value: Any) -> dict[str, Any] | None:
    """Return the record of a pair of a text and its annotations; None for anything else."""
    is_pair = isinstance(value, list | tuple) and len(value) == 2
    if not (is_pair and isinstance(value[0], str) and isinstance(value[1], dict)):
        return None
    return {TEXT: value[0], **{name: item for name, item in value[1].items() if name in (CATS, ENTITIES)}}


def convert(records: Sequence[Record], places: Sequence[str]) -> Converted | None:
    """Return the records with the classes of ``cats`` as lists; None if no record has such classes."""
    if not any(is_cats(record.get(CATS)) for record in records) or any(LABEL in record for record in records):
        return None
    converted = []
    for record in records:
        cats = record.get(CATS)
        others = {SPANS if name == ENTITIES else name: cell for name, cell in record.items() if name != CATS}
        converted.append({**others, LABEL: classes_of_cats(cats) if isinstance(cats, dict) else None})
    return Converted(converted, places)
