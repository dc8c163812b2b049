"""Terms of texts for linear models: words, pairs of words and groups of characters, with their TF-IDF weights."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from autoopt.strategies.texts.words import script_of

MAX_CHARACTERS = 1000
"""Length to which texts are cut."""
SHORT = 200
"""Mean number of characters up to which groups of characters count too; longer texts have words enough."""
OVERLAPS = 10
"""Number of steps in which the share of words that two texts have in common is told."""
_WORD = re.compile(r"\w+")

Pair = tuple[str, str | None]
"""A text, and the second one if the task is about pairs."""


@dataclass(frozen=True)
class Vocabulary:
    """Terms in the order of their columns, with their inverse document frequencies."""

    columns: Mapping[str, int]
    weights: Sequence[float]
    characters: bool
    """Whether groups of characters are terms too."""

    @classmethod
    def of(cls, pairs: Sequence[Pair], *, characters: bool | None = None) -> Vocabulary:
        """Return the terms that occur in two of the texts or more.

        Groups of characters are terms if the texts are short, unless ``characters`` says so.
        """
        if characters is None:
            characters = sum(len(text) + len(second or "") for text, second in pairs) <= SHORT * len(pairs)
        counts = Counter(term for pair in pairs for block in blocks(pair, characters=characters) for term in block)
        common = sorted(term for term, count in counts.items() if count > 1)
        weights = [1 + math.log((1 + len(pairs)) / (1 + counts[term])) for term in common]
        return cls({term: column for column, term in enumerate(common)}, weights, characters)

    def row(self, pair: Pair) -> tuple[list[int], list[float]]:
        """Return the columns of a text's known terms and their values; each kind of term has the length 1."""
        columns: list[int] = []
        values: list[float] = []
        known, weights = self.columns.get, self.weights
        for block in blocks(pair, characters=self.characters):
            start = len(values)
            squares = 0.0
            for term, count in block.items():
                column = known(term)
                if column is not None:
                    value = weights[column] if count == 1 else (1 + math.log(count)) * weights[column]
                    columns.append(column)
                    values.append(value)
                    squares += value * value
            length = math.sqrt(squares)
            for place in range(start, len(values)):
                values[place] /= length
        return columns, values


def blocks(pair: Pair, *, characters: bool) -> list[Counter[str]]:
    """Return the terms of a text by kind: words with pairs of neighbours, and groups of three to five characters.

    Of two texts these are the terms that both have, those of the first and those of the second alone, and how much
    they have in common.
    """
    first, second = pair
    if second is None:
        words = words_of(first)
        return [_word_terms(words), _character_terms(words)] if characters else [_word_terms(words)]
    one, other = words_of(first), words_of(second)
    kinds = [_compared(_word_terms(one), _word_terms(other)), _overlap(set(one), set(other))]
    return [*kinds, _compared(_character_terms(one), _character_terms(other))] if characters else kinds


def words_of(text: str) -> list[str]:
    """Return the words in lower case; of scripts without blanks each character is one."""
    parts = _WORD.findall(text[:MAX_CHARACTERS].lower())
    if text.isascii():
        return parts
    words: list[str] = []
    for word in parts:
        words += list(word) if any(map(script_of, word)) else [word]
    return words


def _word_terms(words: Sequence[str]) -> Counter[str]:
    return Counter([*words, *map(" ".join, pairwise(words))])


def _character_terms(words: Sequence[str]) -> Counter[str]:
    """Return the groups, each after a ``#``, which no word begins with."""
    groups: list[str] = []
    for word in words:
        padded = f" {word} "
        length = len(padded)
        for size in (3, 4, 5):
            groups += ["#" + padded[i : i + size] for i in range(length - size + 1)]
    return Counter(groups)


def _compared(first: Counter[str], second: Counter[str]) -> Counter[str]:
    return Counter(
        [f"={term}" for term in first if term in second]
        + [f"<{term}" for term in first if term not in second]
        + [f">{term}" for term in second if term not in first]
    )


def _overlap(first: set[str], second: set[str]) -> Counter[str]:
    """Return a term for each step that the share of common words reaches: of all words, and of each text's."""
    common = len(first & second)
    shares = {
        "all": common / max(1, len(first | second)),
        "first": common / max(1, len(first)),
        "second": common / max(1, len(second)),
    }
    return Counter(
        f"overlap {name} {step}"
        for name, share in shares.items()
        for step in range(OVERLAPS + 1)
        if share * OVERLAPS >= step
    )
