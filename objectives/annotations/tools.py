"""Which annotation tool has written records, seen by their keys."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives.annotations import label_studio, prodigy, spacy
from autoopt.objectives.annotations.records import Converted, Record


def converted(records: Sequence[Record], places: Sequence[str]) -> Converted:
    """Return the records of an annotation tool as plain rows, and any others as they are."""
    if not records:
        return Converted(records, places)
    for convert in (prodigy.convert, label_studio.convert, spacy.convert):
        plain = convert(records, places)
        if plain is not None:
            return plain
    return Converted(records, places)
