"""Texts on which answers are timed: those of the user, or of one length, made of the user's."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from autoopt.objectives.target import Batch, Texts
from autoopt.objectives.timing.lengths import typical_calls

if TYPE_CHECKING:
    from autoopt.strategies.candidate import Example

VARIANTS = 16
"""Most batches of each length: more than a model that reads texts could remember."""


def typical_texts(examples: Sequence[Example], tokens: Sequence[int], *, batch_size: int = 1) -> Texts:
    """Return batches of the examples for each length of ``typical_lengths``, those nearest to it.

    ``tokens`` are the lengths of the examples in tokens. A batch is filled in the order of the examples.
    """
    return tuple(
        tuple(_batch(examples[start : start + batch_size]) for start in starts[:VARIANTS])
        for starts in typical_calls(tokens, batch_size=batch_size)
    )


def texts_of_length(
    examples: Sequence[Example], length: int, count: Callable[[str, str | None], int], *, batch_size: int = 1
) -> Texts:
    """Return batches of texts of ``length`` tokens each, cut out of the examples' texts joined in random order.

    ``count`` returns the tokens of a text, or of a pair. The first text of a pair is an example's own, at most half of
    the tokens. A text may be some tokens shorter where no cut gives the length.
    """
    chance = random.Random(0)
    is_pair = any(example.text_pair is not None for example in examples)
    shuffled = chance.sample(list(examples), len(examples))
    source = " ".join((example.text_pair if is_pair else example.text) or "" for example in shuffled) or "a"
    source *= 1 + 16 * length // len(source)
    made: list[str | tuple[str, str]] = []
    for number in range(VARIANTS * batch_size):
        start = chance.randrange(len(source) // 2 + 1)
        start = source.find(" ", start) + 1 or start
        first = _longest(shuffled[number % len(shuffled)].text, lambda text: count(text, "") <= length // 2)
        if is_pair:
            second = _longest(source[start:], lambda text, first=first: count(first, text) <= length)  # type: ignore[misc]
            made.append((first, second))
        else:
            made.append(_longest(source[start:], lambda text: count(text, None) <= length))
    return (tuple(tuple(made[start : start + batch_size]) for start in range(0, len(made), batch_size)),)


def _longest(text: str, fits: Callable[[str], bool]) -> str:
    """Return the longest beginning of the text that fits, at least a character."""
    low, high = 1, 2
    while high < len(text) and fits(text[:high]):
        low, high = high, 2 * high
    high = min(high, len(text))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(text[:middle]) else (low, middle - 1)
    return text[:low]


def _batch(examples: Sequence[Example]) -> Batch:
    return tuple(
        example.text if example.text_pair is None else (example.text, example.text_pair) for example in examples
    )
