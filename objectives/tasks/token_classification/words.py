"""Splitting of a text as typed into words with their positions."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_NON_BLANK = re.compile(r"\S+")
_JOINERS = "\u200c\u200d"
"""Invisible characters within words of Persian or Hindi."""


@dataclass(frozen=True)
class Word:
    """The characters from ``start`` up to but excluding ``end`` of a text."""

    text: str
    start: int
    end: int


def split_words(text: str) -> list[Word]:
    r"""Return runs of letters, digits and underscores, and any other non-blank character as a word of its own.

    A vowel sign or an accent, which ``\w`` does not match, belongs to the word before it.
    """
    bounds: list[tuple[int, int]] = []
    for chunk in _NON_BLANK.finditer(text):
        in_word = False
        for position in range(*chunk.span()):
            is_word_character = _is_word_character(text[position])
            if is_word_character and in_word:
                bounds[-1] = (bounds[-1][0], position + 1)
            else:
                bounds.append((position, position + 1))
            in_word = is_word_character
    return [Word(text[start:end], start, end) for start, end in bounds]


def _is_word_character(character: str) -> bool:
    return (
        character.isalnum()
        or character == "_"
        or character in _JOINERS
        or unicodedata.category(character).startswith("M")
    )
