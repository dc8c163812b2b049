"""Open a student of any kind from its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoopt.strategies.errors import CorruptArtefact
from autoopt.strategies.stand_ins.contract import TextModel
from autoopt.strategies.students.arrays import Arrays
from autoopt.strategies.students.linear_reader import LinearReader
from autoopt.strategies.students.static_reader import StaticReader

KINDS: Mapping[str, type[LinearReader] | type[StaticReader]] = {
    "linear_bag": LinearReader,
    "static_embeddings": StaticReader,
}
"""The class that serves what a strategy has made."""


def open_reader(kind: str, arrays: Arrays, settings: Mapping[str, Any]) -> TextModel:
    """Return the student that the strategy ``kind`` made of these arrays. Raises ``CorruptArtefact``."""
    try:
        return KINDS[kind](arrays, settings)
    except KeyError as error:
        raise CorruptArtefact(f"a saved student of {kind} lacks {error}; pull it again") from None
