"""Words of texts in scripts that put no blanks between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import groupby

MAX_LEXICON = 20_000
"""Maximum number of words in a lexicon, the commonest of the training data."""
_UNKNOWN_COST = 1.1
"""Cost of a character that is in no word, where a word costs 1: as few characters as possible stay alone."""
_SCRIPTS = (
    ("han", 0x2E80, 0x2FDF),
    ("han", 0x3005, 0x3007),
    ("han", 0x3021, 0x3029),
    ("han", 0x3040, 0x30FA),
    ("han", 0x30FC, 0x30FF),
    ("han", 0x31F0, 0x31FF),
    ("han", 0x3400, 0x4DBF),
    ("han", 0x4E00, 0x9FFF),
    ("han", 0xF900, 0xFAFF),
    ("han", 0xFF66, 0xFF9F),
    ("han", 0x20000, 0x323AF),
    ("thai", 0x0E01, 0x0E3A),
    ("thai", 0x0E40, 0x0E4E),
    ("lao", 0x0E80, 0x0EFF),
    ("tibetan", 0x0F40, 0x0FBC),
    ("burmese", 0x1000, 0x103F),
    ("burmese", 0x1050, 0x109F),
    ("khmer", 0x1780, 0x17D3),
)
"""Script, first and last character. Japanese words mix kanji and kana, so these are one script with Chinese."""
_LEADING_VOWELS = frozenset("เแโใไເແໂໃໄ")
"""Written before the consonant with which they are spoken, and never apart from it."""
_TRAILING_VOWELS = frozenset("ะาำๅๆະາຳ")


@lru_cache(maxsize=65_536)
def script_of(character: str) -> str | None:
    """Return the script of a character if it puts no blanks between words, else None."""
    code = ord(character)
    return next((script for script, first, last in _SCRIPTS if first <= code <= last), None)


def script_runs(word: str) -> list[str]:
    """Cut a word where the script changes from or to one without blanks, or between two of these."""
    runs: list[str] = []
    previous: str | None = None
    for character in word:
        # A mark belongs to the character before it, whatever its script.
        script = previous if runs and unicodedata.category(character)[0] == "M" else script_of(character)
        if runs and script == previous:
            runs[-1] += character
        else:
            runs.append(character)
        previous = script
    return runs


def characters(run: str) -> list[str]:
    """Return the characters of a run with the vowels and marks that are written around them."""
    units: list[str] = []
    for character in run:
        belongs = unicodedata.category(character)[0] == "M" or character in _TRAILING_VOWELS
        if units and (belongs or units[-1] in _LEADING_VOWELS):
            units[-1] += character
        else:
            units.append(character)
    return units


def lexicon_of(sentences: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the commonest words that are all in one script without blanks, sorted."""
    counts = Counter(
        word for words in sentences for word in words if script_of(word[0]) is not None and script_runs(word) == [word]
    )
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return tuple(sorted(ranked[:MAX_LEXICON]))


class Lexicon:
    """Words of one script, with which a run of that script is cut as the training data are."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(words)
        self._longest = max(map(len, self._words))
        self._has_words = 2 * sum(len(characters(word)) > 1 for word in self._words) > len(self._words)

    @classmethod
    def by_script(cls, words: Iterable[str]) -> dict[str | None, Lexicon]:
        """Return the lexicon of each script that occurs."""
        ordered = sorted(words, key=lambda word: script_of(word[0]) or "")
        return {script: cls(of_script) for script, of_script in groupby(ordered, key=lambda word: script_of(word[0]))}

    def cut(self, run: str) -> list[str]:
        """Cut a run into as few words as possible; of two ways the one with the longer first word.

        What is between known words is one word, or single characters if most words of the lexicon are.
        """
        units = characters(run)
        starts = [0]
        for unit in units:
            starts.append(starts[-1] + len(unit))
        best: list[tuple[float, int, bool]] = [(0.0, 0, True)] * (len(units) + 1)
        for first in range(len(units) - 1, -1, -1):
            options = [(best[first + 1][0] + _UNKNOWN_COST, first + 1, False)]
            for end in range(first + 1, len(units) + 1):
                if starts[end] - starts[first] > self._longest:
                    break
                if run[starts[first] : starts[end]] in self._words:
                    options.append((best[end][0] + 1, end, True))
            best[first] = min(options, key=lambda option: (option[0], -option[1]))
        words: list[str] = []
        position, previous_is_known = 0, True
        while position < len(units):
            _, end, is_known = best[position]
            word = run[starts[position] : starts[end]]
            if not is_known and not previous_is_known and self._has_words:
                words[-1] += word
            else:
                words.append(word)
            position, previous_is_known = end, is_known
        return words


def split_for_editing(text: str) -> list[str]:
    """Return the words between blanks, and single characters of scripts without blanks."""
    return [part for word in text.split() for part in _parts(word)]


def edit_words(text: str, edit: Callable[[list[str]], Sequence[str]]) -> str:
    """Return the text with each word of ``split_for_editing`` replaced by the one that ``edit`` returns in its place.

    Blanks stay where they are, one for each run of them.
    """
    parts = [_parts(word) for word in text.split()]
    edited = iter(edit([part for of_word in parts for part in of_word]))
    return " ".join("".join(next(edited) for _ in of_word) for of_word in parts)


def _parts(word: str) -> list[str]:
    return [part for run in script_runs(word) for part in (characters(run) if script_of(run[0]) else [run])]


def join_words(words: Sequence[str]) -> str:
    """Join words by blanks, but none beside a character of a script without blanks."""
    text = ""
    for word in filter(None, words):
        needs_blank = text and script_of(text[-1]) is None and script_of(word[0]) is None
        text += f" {word}" if needs_blank else word
    return text
