"""Sentences as inputs of a model, long ones in overlapping windows, with the tokens that stand for their words."""

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
"""Share of a window that the next one repeats, so that words at a cut have context on both sides."""


@dataclass(frozen=True)
class WordWindow:
    """A sentence, or a part of a long one, tokenized and unpadded."""

    sentence: int
    """Index of the sentence."""
    features: Features
    tokens: Mapping[int, int]
    """Position of the token that stands for each word that is answered in this window, by the word's index."""


def word_windows(
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, *, max_length: int, last: bool = False
) -> list[WordWindow]:
    """Return the windows on all sentences, in order, of at most ``max_length`` tokens each.

    The first token of a word stands for it, or the last one if ``last``. A word is answered in the window in which it
    has most context; in none if it has no token, as a control character.
    Raises ``ModelError`` for a tokenizer that does not tell which word a token belongs to.
    """
    if not sentences:
        return []
    word_texts = _word_texts(sentences, tokenizer)
    room = max(1, max_length - tokenizer.num_special_tokens_to_add())
    windows = []
    parts: list[tuple[int, range, list[int]]] = []
    for sentence, (features, word_of) in enumerate(_tokenize(word_texts, tokenizer, max_length=None)):
        if len(word_of) <= max_length:
            windows.append(WordWindow(sentence, features, _tokens(word_of, last=last)))
            continue
        counts = Counter(word_of)
        lengths = [min(counts[word], room) for word in range(len(word_texts[sentence]))]
        ranges = overlapping_ranges(lengths, room)
        owners = ranges_with_most_context(lengths, ranges)
        parts += [
            (sentence, words, [word for word in words if owners[word] == index]) for index, words in enumerate(ranges)
        ]
    part_texts = [word_texts[sentence][words.start : words.stop] for sentence, words, _ in parts]
    encoded = _tokenize(part_texts, tokenizer, max_length=max_length)
    for (sentence, words, answered), (features, word_of) in zip(parts, encoded, strict=True):
        tokens = _tokens(word_of, last=last)
        positions = {word: tokens[word - words.start] for word in answered if word - words.start in tokens}
        windows.append(WordWindow(sentence, features, positions))
    return sorted(windows, key=lambda window: window.sentence)


def overlapping_ranges(lengths: Sequence[int], room: int) -> list[range]:
    """Cut words of ``lengths`` tokens into overlapping ranges that are as long as ``room`` tokens allow.

    Together they hold every word. No length may exceed ``room``.
    """
    before = [0, *accumulate(lengths)]
    ranges: list[range] = []
    start = 0
    while True:
        end = bisect_right(before, before[start] + room) - 1
        if end == len(lengths):
            # The last range is as long as the others, for more context before its first new words.
            ranges.append(range(bisect_left(before, before[end] - room), end))
            return ranges
        ranges.append(range(start, end))
        # The next range has room for at least one new word.
        start = bisect_left(before, max(before[end] - int(OVERLAP * room), before[end + 1] - room))


def ranges_with_most_context(lengths: Sequence[int], ranges: Sequence[range]) -> list[int]:
    """Return for each word the index of the range whose nearer end is furthest away, in tokens."""
    before = [0, *accumulate(lengths)]
    best = [(-1, 0)] * len(lengths)
    for index, words in enumerate(ranges):
        for word in words:
            context = min(before[word] - before[words.start], before[words.stop] - before[word + 1])
            best[word] = max(best[word], (context, -index))
    return [-index for _, index in best]


def _word_texts(sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase) -> list[list[str]]:
    """Return the words, each with the blank before it for a tokenizer whose tokens include it."""
    if not tokenizer.is_fast:
        raise ModelError(
            f"{type(tokenizer).__name__} does not know which word a token is of; choose a model that comes with a "
            "tokenizer.json"
        )
    blank = " " if tokenizer.tokenize(" a") != tokenizer.tokenize("a") else ""
    return [[word if index == 0 else blank + word for index, word in enumerate(words)] for words in sentences]


def _tokenize(
    word_texts: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, *, max_length: int | None
) -> list[tuple[Features, list[int | None]]]:
    """Return the features of each sentence, and for each token the index of its word."""
    if not word_texts:
        return []
    encoded: Any = tokenizer(
        word_texts,
        is_split_into_words=True,
        truncation=max_length is not None,
        max_length=max_length,
        verbose=False,  # No warning about sentences that are too long: they are cut here.
    )
    return [
        ({name: values[number] for name, values in encoded.items()}, encoded.word_ids(number))
        for number in range(len(word_texts))
    ]


def _tokens(word_of: Sequence[int | None], *, last: bool) -> dict[int, int]:
    """Return the position of the first token of each word, or of the last one."""
    ordered = list(enumerate(word_of))
    return {word: place for place, word in (ordered if last else reversed(ordered)) if word is not None}
