"""Add copies of the examples with typing or scanning errors (Belinkov and Bisk 2018, "Synthetic and natural noise")."""

from __future__ import annotations

import random
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.texts.words import edit_words

KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""Rows of a keyboard; neighbours in a row are mistaken for each other."""
LOOKALIKES = ("0oO", "1lI|i", "5sS", "8B", "2zZ", "6b", "9gq", "rn", "vu", "ce", "hb")
"""Groups of characters that optical character recognition confuses."""


class CharacterNoise(Strategy):
    """Copies of the examples in which some words have an error.

    Worth it if the model will read hastily typed or scanned texts; on clean texts it costs a little quality.

    - ``share``: share of the words that get one error each.
    - ``errors``: ``keyboard`` (adjacent keys, letters swapped, doubled or dropped) or ``scanner`` (lookalikes).
    - ``copies``: copies of each example.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text"})

    share: Annotated[float, Choice(0.05, 0.1, 0.2)] = 0.1
    errors: Annotated[str, Choice("keyboard", "scanner")] = "keyboard"
    copies: int = 1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("character noise, none made")
        rng = random.Random(seed)
        noisy = tuple(
            example.edited(lambda text: self._add_noise(text, rng))
            for _ in range(self.copies)
            for example in candidate.train
        )
        return candidate.evolve(f"character noise, {len(noisy)} examples added", train=(*candidate.train, *noisy))

    def _add_noise(self, text: str, rng: random.Random) -> str:
        corrupt = _mistype if self.errors == "keyboard" else _misread

        def corrupt_some(words: list[str]) -> list[str]:
            for index in rng.sample(range(len(words)), min(len(words), max(1, round(self.share * len(words))))):
                words[index] = corrupt(words[index], rng)
            return words

        return edit_words(text, corrupt_some)


def _mistype(word: str, rng: random.Random) -> str:
    """Make one typing error in the word. A single character is only doubled or replaced, so that no word vanishes."""
    index = rng.randrange(len(word))
    before, character, after = word[:index], word[index], word[index + 1 :]
    match rng.choice(("neighbour", "swap", "double", "drop")):
        case "swap" if after:
            return before + after[0] + character + after[1:]
        case "drop" if len(word) > 1:
            return before + after
        case "double":
            return before + character * 2 + after
        case _:
            return before + _adjacent_key(character, rng) + after


def _adjacent_key(character: str, rng: random.Random) -> str:
    """Return a neighbour on the keyboard in the same case, or the character itself if it is on no row."""
    for row in KEYBOARD:
        index = row.find(character.lower())
        if index >= 0:
            key = rng.choice(row[max(0, index - 1) : index] + row[index + 1 : index + 2])
            return key.upper() if character.isupper() else key
    return character


def _misread(word: str, rng: random.Random) -> str:
    """Replace one character of the word by one that looks like it, if it has any."""
    indices = [index for index, character in enumerate(word) if any(character in group for group in LOOKALIKES)]
    if not indices:
        return word
    index = rng.choice(indices)
    character = word[index]
    lookalikes = [
        lookalike for group in LOOKALIKES if character in group for lookalike in group if lookalike != character
    ]
    return word[:index] + rng.choice(lookalikes) + word[index + 1 :]
