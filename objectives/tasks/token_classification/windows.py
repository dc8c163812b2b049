"""Which tokens stand for which words: sentences as inputs of a model, long ones in windows cut between words."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Features
from autoopt.strategies.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OVERLAP = 0.25
"""How much of a window the next one reads again, so that the words at the cut have neighbours on both sides."""


@dataclass(frozen=True)
class WordWindow:
    """A sentence, or a part of a long one, tokenized and not padded."""

    sentence: int
    features: Features
    tokens: Mapping[int, int]
    """The words of the sentence that are answered here, by number, each with the place of its first token."""


def word_windows(
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> list[WordWindow]:
    """Return the windows on all sentences, in order, none longer than ``max_length`` tokens.

    Each word is answered in one window, that in which it has most context; in none where it becomes no token, as a
    control character does. Raises ``ModelError`` for a tokenizer that does not know which word a token is of.
    """
    if not sentences:
        return []
    pieces = _pieces(sentences, tokenizer)
    room = max(1, max_length - tokenizer.num_special_tokens_to_add())
    found = []
    slices: list[tuple[int, range, list[int]]] = []
    for number, (features, word_of) in enumerate(_encode(pieces, tokenizer, max_length=None)):
        if len(word_of) <= max_length:
            found.append(WordWindow(number, features, _first_tokens(word_of)))
            continue
        counts = Counter(word_of)
        lengths = [min(counts[word], room) for word in range(len(pieces[number]))]
        windows = cut(lengths, room)
        owners = with_most_context(lengths, windows)
        slices += [
            (number, words, [word for word in words if owners[word] == place]) for place, words in enumerate(windows)
        ]
    parts = [pieces[number][words.start : words.stop] for number, words, _ in slices]
    encoded = _encode(parts, tokenizer, max_length=max_length)
    for (number, words, answered), (features, word_of) in zip(slices, encoded, strict=True):
        tokens = _first_tokens(word_of)
        places = {word: tokens[word - words.start] for word in answered if word - words.start in tokens}
        found.append(WordWindow(number, features, places))
    return sorted(found, key=lambda window: window.sentence)


def cut(lengths: Sequence[int], room: int) -> list[range]:
    """Windows of words that have ``lengths`` tokens each: as long as ``room`` allows, and overlapping.

    Together they hold every word. No length may be above ``room``.
    """
    before = [0, *accumulate(lengths)]
    windows: list[range] = []
    start = 0
    while True:
        end = bisect_right(before, before[start] + room) - 1
        if end == len(lengths):
            # The last one is as long as the others, for the sake of its first words.
            windows.append(range(bisect_left(before, before[end] - room), end))
            return windows
        windows.append(range(start, end))
        # The next one has room for one new word at least.
        start = bisect_left(before, max(before[end] - int(OVERLAP * room), before[end + 1] - room))


def with_most_context(lengths: Sequence[int], windows: Sequence[range]) -> list[int]:
    """For each word the place of the window in which the border that is nearer to it is furthest away."""
    before = [0, *accumulate(lengths)]
    best = [(-1, 0)] * len(lengths)
    for place, words in enumerate(windows):
        for word in words:
            context = min(before[word] - before[words.start], before[words.stop] - before[word + 1])
            best[word] = max(best[word], (context, -place))
    return [-place for _, place in best]


def _pieces(sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase) -> list[list[str]]:
    """The words as the tokenizer wants them: one that reads the blank before a word as part of it is given it."""
    if not tokenizer.is_fast:
        raise ModelError(
            f"{type(tokenizer).__name__} does not know which word a token is of; choose a model that comes with a "
            "tokenizer.json"
        )
    blank = " " if tokenizer.tokenize(" a") != tokenizer.tokenize("a") else ""
    return [[word if place == 0 else blank + word for place, word in enumerate(words)] for words in sentences]


def _encode(
    pieces: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, *, max_length: int | None
) -> list[tuple[Features, list[int | None]]]:
    """The features of each sentence, with the number of the word that each token is of."""
    if not pieces:
        return []
    encoded: Any = tokenizer(
        pieces,
        is_split_into_words=True,
        truncation=max_length is not None,
        max_length=max_length,
        verbose=False,  # A sentence that is too long is no news here.
    )
    return [
        ({name: values[number] for name, values in encoded.items()}, encoded.word_ids(number))
        for number in range(len(pieces))
    ]


def _first_tokens(word_of: Sequence[int | None]) -> dict[int, int]:
    """By word the place of its first token."""
    return {word: place for place, word in reversed(list(enumerate(word_of))) if word is not None}
