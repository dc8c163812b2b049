"""The words of a text as a person types it, each with the place where it stands."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_CHUNK = re.compile(r"\S+")
_JOINERS = "\u200c\u200d"
"""Within a word of Persian or of Hindi; invisible, and neither a letter nor a blank."""


@dataclass(frozen=True)
class RawWord:
    """The characters ``start`` up to and without ``end`` of a text, ``text``."""

    text: str
    start: int
    end: int


def raw_words(text: str) -> list[RawWord]:
    """Words are runs of letters, digits and underscores; any other character but a blank is a word of its own.

    A vowel sign or an accent belongs to the word before it, which ``\\w`` does not see.
    """
    places: list[tuple[int, int]] = []
    for chunk in _CHUNK.finditer(text):
        is_open = False
        for place in range(*chunk.span()):
            goes_on = _is_in_word(text[place])
            if goes_on and is_open:
                places[-1] = (places[-1][0], place + 1)
            else:
                places.append((place, place + 1))
            is_open = goes_on
    return [RawWord(text[start:end], start, end) for start, end in places]


def _is_in_word(character: str) -> bool:
    return (
        character.isalnum()
        or character == "_"
        or character in _JOINERS
        or unicodedata.category(character).startswith("M")
    )
