"""Splitting of a text as typed into words with their positions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from autoopt.strategies.texts.words import Lexicon, characters, script_of, script_runs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NON_BLANK = re.compile(r"\S+")
_JOINERS = "\u200c\u200d"
"""Invisible characters within words of Persian or Hindi."""


@dataclass(frozen=True)
class Word:
    """The characters from ``start`` up to but excluding ``end`` of a text."""

    text: str
    start: int
    end: int


def split_words(text: str, cut: Callable[[str], Sequence[str]] = characters) -> list[Word]:
    r"""Return runs of letters, digits and underscores, and any other non-blank character as a word of its own.

    A vowel sign or an accent, which ``\w`` does not match, belongs to the word before it. Runs of a script that puts no
    blanks between words are split by ``cut``, by default into characters.
    """
    words: list[Word] = []
    for start, end in _bounds(text):
        for run in script_runs(text[start:end]):
            for part in cut(run) if script_of(run[0]) else [run]:
                words.append(Word(part, start, start + len(part)))
                start += len(part)
    return words


def word_cutter(lexicon: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[str]]:
    """Return a function that cuts a run of a script without blanks into words as the training data have them.

    These are the words of ``lexicon``; of a script that does not occur in it, the pieces of the tokenizer.
    """
    by_script = Lexicon.by_script(lexicon)

    def cut(run: str) -> list[str]:
        known = by_script.get(script_of(run[0]))
        return known.cut(run) if known else _pieces(run, tokenizer)

    return cut


def _pieces(run: str, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    offsets = tokenizer(run, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    starts = sorted({0, len(run), *(start for start, end in offsets if start < end)})
    return [run[start:end] for start, end in pairwise(starts)]


def _bounds(text: str) -> list[tuple[int, int]]:
    """Return where words between blanks and marks begin and end."""
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
    return bounds


def _is_word_character(character: str) -> bool:
    return (
        character.isalnum()
        or character == "_"
        or character in _JOINERS
        or unicodedata.category(character).startswith("M")
    )
