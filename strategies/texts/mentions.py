"""Where the entities of tagged examples are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.texts.tag_schemes import TagScheme


@dataclass(frozen=True)
class Mention:
    """One entity of one example, with the classes of its words."""

    type: str
    words: tuple[str, ...]
    classes: tuple[int, ...]
    start: int
    """The place of its first word."""


def mentions(candidate: Candidate, examples: Iterable[Example]) -> list[list[Mention]]:
    """For each example its entities in order; none where its words have no classes."""
    names = candidate.task.to_json()["labels"]
    scheme = TagScheme.of(names)
    return [_of_example(example, names, scheme) for example in examples]


def _of_example(example: Example, names: list[str], scheme: TagScheme) -> list[Mention]:
    words, label = example.text.split(" "), example.label
    if not isinstance(label, tuple) or len(label) != len(words):
        return []
    classes = tuple(part for part in label if isinstance(part, int))
    return [
        Mention(found.type, tuple(words[found.start : found.end]), classes[found.start : found.end], found.start)
        for found in scheme.entities([names[number] for number in classes])
    ]
