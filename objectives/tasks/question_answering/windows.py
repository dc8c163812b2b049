"""Questions with their contexts as a model reads them: in windows that overlap where a context is long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Example, Features, Span
from autoopt.strategies.errors import ModelError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUESTION_SHARE = 3
"""A question has at most one of so many parts of a window; the rest of it is cut off."""
CHUNK = 256
"""So many examples are tokenized at a time: where their tokens stand takes more memory than the tokens."""


@dataclass(frozen=True)
class Window:
    """A piece of a context, with the question before it."""

    example: int
    """The place of its example among those that were given."""
    features: Features
    null: int
    """The token that stands for "no answer here": the one that begins the text."""
    first: int
    """The first token of the context."""
    offsets: tuple[tuple[int, int], ...]
    """For each token of the context the characters that it is, from and to; none where there is no context."""

    def positions(self, answers: Sequence[Span]) -> dict[str, int]:
        """First and last token of the first answer; both ``null`` where not all of it is in the window."""
        tokens = _tokens(answers[0], self.offsets) if answers and self.offsets else None
        start, end = (self.null, self.null) if tokens is None else (self.first + token for token in tokens)
        return {"start_positions": start, "end_positions": end}


def windows(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, *, max_length: int, stride: int
) -> Iterator[Window]:
    """Yield the windows of each example in order, each of at most ``max_length`` tokens; none is padded.

    Two windows that follow each other share ``stride`` tokens, or as many as fit. An example without ``text_pair`` is
    one window without context, cut. Raises ``ModelError`` for a tokenizer that cannot say where its tokens stand.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer {type(tokenizer).__name__} does not say where its tokens stand in the text; question "
            "answering needs one of the fast tokenizers of transformers"
        )
    pairs = [example.text_pair is not None for example in examples]
    if any(pairs) and not all(pairs):
        raise UsageError("some of these questions have a context and some have none; give one kind")
    for begin in range(0, len(examples), CHUNK):
        chunk = examples[begin : begin + CHUNK]
        encode = _with_contexts if pairs[0] else _alone
        encoded = encode(chunk, tokenizer, max_length, stride)
        for number in range(len(encoded["input_ids"])):
            yield _window(encoded, number, begin, tokenizer)


def _with_contexts(examples: Sequence[Example], tokenizer: Any, max_length: int, stride: int) -> Any:
    longest = max_length // QUESTION_SHARE
    room = max_length - longest - tokenizer.num_special_tokens_to_add(pair=True)
    return tokenizer(
        _shortened([example.text for example in examples], tokenizer, longest),
        [example.text_pair for example in examples],
        truncation="only_second",
        max_length=max_length,
        stride=min(stride, room - 1),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )


def _alone(examples: Sequence[Example], tokenizer: Any, max_length: int, stride: int) -> Any:  # noqa: ARG001
    return tokenizer([example.text for example in examples], truncation=True, max_length=max_length)


def _shortened(questions: Sequence[str], tokenizer: Any, limit: int) -> list[str]:
    """The questions, each cut to at most ``limit`` tokens; a cut within a word can make more of it, so look again."""

    def offsets(texts: list[str]) -> Any:
        settings = {"add_special_tokens": False, "truncation": True, "max_length": limit + 1}
        return tokenizer(texts, **settings, return_offsets_mapping=True)["offset_mapping"]

    kept = list(questions)
    for place, found in enumerate(offsets(kept)):
        while len(found) > limit:
            kept[place] = kept[place][: min(found[limit - 1][1], len(kept[place]) - 1)]
            (found,) = offsets([kept[place]])
    return kept


def _window(encoded: Any, number: int, begin: int, tokenizer: Any) -> Window:
    about = {"offset_mapping", "overflow_to_sample_mapping"}
    features = {name: values[number] for name, values in encoded.items() if name not in about}
    ids = features["input_ids"]
    null = ids.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in ids else 0
    if "offset_mapping" not in encoded:
        return Window(begin + number, features, null, 0, ())
    sides = encoded.sequence_ids(number)
    count = sides.count(1)
    first = sides.index(1) if count else 0
    offsets = tuple(map(tuple, encoded["offset_mapping"][number][first : first + count]))
    return Window(begin + encoded["overflow_to_sample_mapping"][number], features, null, first, offsets)


def _tokens(answer: Span, offsets: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """First and last token that have a part of the answer; None where a part of it is outside."""
    begin = answer.start + len(answer.text) - len(answer.text.lstrip())
    end = answer.start + len(answer.text.rstrip())
    if begin >= end or begin < offsets[0][0] or end > offsets[-1][1]:
        return None
    first = next(place for place, (_, last) in enumerate(offsets) if last > begin)
    last = max(place for place, (start, _) in enumerate(offsets) if start < end)
    return (first, last) if first <= last else None
