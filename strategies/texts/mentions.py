"""Entity mentions in tagged examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.texts.tag_schemes import TagScheme


@dataclass(frozen=True)
class Mention:
    """An entity in an example, with the classes of its words."""

    type: str
    words: tuple[str, ...]
    classes: tuple[int, ...]
    start: int
    """Index of its first word."""


def mentions(candidate: Candidate, examples: Iterable[Example]) -> list[list[Mention]]:
    """Return the entities of each example in order; none if its words have no classes."""
    names = candidate.task.to_json()["labels"]
    scheme = TagScheme.of(names)
    return [_of_example(example, names, scheme) for example in examples]


def _of_example(example: Example, names: list[str], scheme: TagScheme) -> list[Mention]:
    words, label = example.text.split(" "), example.label
    if not isinstance(label, tuple) or len(label) != len(words):
        return []
    classes = tuple(part for part in label if isinstance(part, int))
    return [
        Mention(entity.type, tuple(words[entity.start : entity.end]), classes[entity.start : entity.end], entity.start)
        for entity in scheme.entities([names[number] for number in classes])
    ]
