"""Copies of the examples with typing and scanning errors (Belinkov and Bisk 2018, "Synthetic and natural noise")."""

from __future__ import annotations

import random
from typing import Annotated, ClassVar

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy

KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""The rows of letters; a slip of the finger hits a neighbour in the row."""
LOOKALIKES = ("0oO", "1lI|i", "5sS", "8B", "2zZ", "6b", "9gq", "rn", "vu", "ce", "hb")
"""What a scanner takes for each other."""


class CharacterNoise(Strategy):
    """Worth it where what is asked of the model is typed in haste or scanned; on clean texts it costs a little.

    ``share``: of the words that get an error each. ``errors``: of the ``keyboard`` (neighbouring keys, letters swapped,
    doubled or left out), or of a ``scanner``. ``copies`` of each example are added to it.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text"})

    share: Annotated[float, Choice(0.05, 0.1, 0.2)] = 0.1
    errors: Annotated[str, Choice("keyboard", "scanner")] = "keyboard"
    copies: int = 1

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("character noise, none made")
        chance = random.Random(seed)
        made = tuple(
            example.edited(lambda text: self._noise(text, chance))
            for _ in range(self.copies)
            for example in candidate.train
        )
        return candidate.evolve(f"character noise, {len(made)} examples added", train=(*candidate.train, *made))

    def _noise(self, text: str, chance: random.Random) -> str:
        err = _mistype if self.errors == "keyboard" else _misread
        words = text.split()
        for place in chance.sample(range(len(words)), min(len(words), max(1, round(self.share * len(words))))):
            words[place] = err(words[place], chance)
        return " ".join(words)


def _mistype(word: str, chance: random.Random) -> str:
    """The word with one slip; a single character is only ever doubled or replaced, so that no word vanishes."""
    place = chance.randrange(len(word))
    before, character, after = word[:place], word[place], word[place + 1 :]
    match chance.choice(("neighbour", "swap", "double", "drop")):
        case "swap" if after:
            return before + after[0] + character + after[1:]
        case "drop" if len(word) > 1:
            return before + after
        case "double":
            return before + character * 2 + after
        case _:
            return before + _neighbour(character, chance) + after


def _neighbour(character: str, chance: random.Random) -> str:
    """A key beside it, of the same case; the character itself where it is on no row of letters."""
    for row in KEYBOARD:
        place = row.find(character.lower())
        if place >= 0:
            near = chance.choice(row[max(0, place - 1) : place] + row[place + 1 : place + 2])
            return near.upper() if character.isupper() else near
    return character


def _misread(word: str, chance: random.Random) -> str:
    """The word with one character taken for another that looks like it, if there is one."""
    mistakable = [place for place, character in enumerate(word) if any(character in group for group in LOOKALIKES)]
    if not mistakable:
        return word
    place = chance.choice(mistakable)
    character = word[place]
    others = [other for group in LOOKALIKES if character in group for other in group if other != character]
    return word[:place] + chance.choice(others) + word[place + 1 :]
