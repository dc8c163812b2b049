"""Which entities a sentence's tags mean, whatever scheme they are written in."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

OUTSIDE = "O"
UNTYPED = "_"
"""The type of the entities where tags say where these are and not what: B, I, O."""
_PREFIXES: Mapping[str, str] = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S"}
"""BILOU writes L and U for what is E and S in IOBES."""
_PREFIXED = re.compile(r"([BIESLU])(?:-(.+))?", re.DOTALL)


@dataclass(frozen=True)
class Entity:
    """The words ``start`` up to and without ``end`` of a sentence."""

    type: str
    start: int
    end: int


@dataclass(frozen=True)
class TagScheme:
    """How to read the tags of one set of labels: BIO in both its forms, IO, IOBES, BILOU, or types without a prefix."""

    outside: str | None
    """The tag of the words that belong to no entity; None where each word has something to say, as parts of speech."""
    parts: Mapping[str, tuple[str, str]]
    """By tag its prefix, one of B, I, E and S, and its type."""

    @classmethod
    def of(cls, labels: Sequence[str]) -> Self:
        """The scheme of these labels.

        They have prefixes where all of them do, or where two differ in nothing but theirs: 'B-cell' beside 'T-cell'
        is a type. Without an 'O' among numbers alone 0 is taken for it.
        """
        outside = OUTSIDE if OUTSIDE in labels else None
        if outside is None and "0" in labels and all(label.isdecimal() for label in labels):
            outside = "0"
        tags = [label for label in labels if label != outside]
        prefixed = _have_prefixes(tags)
        return cls(outside, {tag: _split(tag) if prefixed else ("I", tag) for tag in tags})

    @property
    def types(self) -> tuple[str, ...]:
        """The types of entities, in order."""
        return tuple(sorted({kind for _, kind in self.parts.values()}))

    def entities(self, tags: Sequence[str]) -> list[Entity]:
        """The entities of a sentence, as ``seqeval.get_entities`` finds them, that is as conlleval does.

        A tag that cannot continue what stands before it begins an entity of its own: none is an error.
        """
        found: list[Entity] = []
        before: tuple[str, str] | None = None
        for place, tag in enumerate(tags):
            part = self.parts.get(tag)
            if part is not None:
                prefix, kind = part
                goes_on = prefix in ("I", "E") and before in (("B", kind), ("I", kind))
                start = found.pop().start if goes_on else place
                found.append(Entity(kind, start, place + 1))
            before = part
        return found


def _have_prefixes(tags: Sequence[str]) -> bool:
    prefixes = defaultdict(set)
    for tag in tags:
        if match := _PREFIXED.fullmatch(tag):
            prefixes[match[2]].add(match[1])
    return all(map(_PREFIXED.fullmatch, tags)) or any(len(of_type) > 1 for of_type in prefixes.values())


def _split(tag: str) -> tuple[str, str]:
    match = _PREFIXED.fullmatch(tag)
    return (_PREFIXES[match[1]], match[2] or UNTYPED) if match else ("I", tag)
