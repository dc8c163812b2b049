"""Entities of a tagged sentence, in any of the usual tag schemes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

OUTSIDE = "O"
UNTYPED = "_"
"""Type of entities if the tags mark positions only: B, I, O."""
_PREFIXES: Mapping[str, str] = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S"}
"""BILOU's L and U are E and S in IOBES."""
_PREFIXED = re.compile(r"([BIESLU])(?:-(.+))?", re.DOTALL)


@dataclass(frozen=True)
class Entity:
    """The words [start, end) of a sentence."""

    type: str
    start: int
    end: int


@dataclass(frozen=True)
class TagScheme:
    """Tag scheme of a set of labels: BIO in both its forms, IO, IOBES, BILOU, or types without a prefix."""

    outside: str | None
    """Tag of words outside entities; None if every word has a type, as with parts of speech."""
    parts: Mapping[str, tuple[str, str]]
    """Prefix (B, I, E or S) and type of each tag."""

    @classmethod
    def of(cls, labels: Sequence[str]) -> Self:
        """Infer the scheme from the labels.

        Prefixes are assumed if all labels have one or two labels differ only in theirs: 'B-cell' beside 'T-cell' is a
        type. If all labels are numbers, 0 means outside.
        """
        outside = OUTSIDE if OUTSIDE in labels else None
        if outside is None and "0" in labels and all(label.isdecimal() for label in labels):
            outside = "0"
        tags = [label for label in labels if label != outside]
        prefixed = _have_prefixes(tags)
        return cls(outside, {tag: _split(tag) if prefixed else ("I", tag) for tag in tags})

    @property
    def types(self) -> tuple[str, ...]:
        """Types of entities, sorted."""
        return tuple(sorted({kind for _, kind in self.parts.values()}))

    def entities(self, tags: Sequence[str]) -> list[Entity]:
        """Return the entities of a sentence as ``seqeval.get_entities`` and conlleval do.

        A tag that cannot continue the previous entity begins a new one; no tag sequence is an error.
        """
        entities: list[Entity] = []
        previous: tuple[str, str] | None = None
        for index, tag in enumerate(tags):
            part = self.parts.get(tag)
            if part is not None:
                prefix, kind = part
                continues = prefix in ("I", "E") and previous in (("B", kind), ("I", kind))
                start = entities.pop().start if continues else index
                entities.append(Entity(kind, start, index + 1))
            previous = part
        return entities


def scheme_name(labels: Sequence[str], sentences: Iterable[Sequence[str]]) -> str:
    """Return the name of the tag scheme: ``BIO``, ``IOB1``, ``IO``, ``IOBES``, ``BILOU`` or ``tags without prefixes``.

    In ``IOB1`` an entity begins with B only right after another of its type, so that most begin with I.
    """
    scheme = TagScheme.of(labels)
    prefixes = {tag[0] for tag, (_, kind) in scheme.parts.items() if kind != tag}
    if not prefixes:
        return "tags without prefixes"
    if prefixes & {"L", "U"}:
        return "BILOU"
    if prefixes & {"E", "S"}:
        return "IOBES"
    if prefixes == {"I"}:
        return "IO"
    first = (tags[entity.start][0] for tags in sentences for entity in scheme.entities(tags))
    begins = Counter(first)
    return "IOB1" if begins["I"] > begins["B"] else "BIO"


def _have_prefixes(tags: Sequence[str]) -> bool:
    prefixes = defaultdict(set)
    for tag in tags:
        if match := _PREFIXED.fullmatch(tag):
            prefixes[match[2]].add(match[1])
    return all(map(_PREFIXED.fullmatch, tags)) or any(len(of_type) > 1 for of_type in prefixes.values())


def _split(tag: str) -> tuple[str, str]:
    match = _PREFIXED.fullmatch(tag)
    return (_PREFIXES[match[1]], match[2] or UNTYPED) if match else ("I", tag)
