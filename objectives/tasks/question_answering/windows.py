"""Questions with their contexts as inputs of a model, long contexts in overlapping windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.objectives.tasks.pairs import separator
from autoopt.strategies.candidate import Example, Features, Span
from autoopt.strategies.errors import ModelError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUESTION_SHARE = 3
"""A question has at most one in ``QUESTION_SHARE`` tokens of a window; it is truncated to that."""
CHUNK = 256
"""Examples tokenized at a time: the offsets of tokens take more memory than the tokens."""


@dataclass(frozen=True)
class Window:
    """A question with a part of its context."""

    example: int
    """Index of the example."""
    features: Features
    null: int
    """Position of the token that stands for "no answer here": that for the class if there is one, else the last."""
    first: int
    """Position of the first token of the context."""
    offsets: tuple[tuple[int, int], ...]
    """Start and end, in characters, of each token of the context; empty without context."""

    def positions(self, answers: Sequence[Span]) -> dict[str, int]:
        """Return the first and last token of the first answer; ``null`` unless all of it is in the window."""
        tokens = _tokens_of(answers[0], self.offsets) if answers and self.offsets else None
        start, end = (self.null, self.null) if tokens is None else (self.first + token for token in tokens)
        return {"start_positions": start, "end_positions": end}


def context_windows(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, *, max_length: int, stride: int
) -> Iterator[Window]:
    """Yield the windows of each example in order, unpadded and of at most ``max_length`` tokens.

    Consecutive windows share ``stride`` tokens, or as many as fit. An example without ``text_pair`` is one window
    without context, truncated. Raises ``ModelError`` for a tokenizer without offsets.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer {type(tokenizer).__name__} does not say where its tokens stand in the text; question "
            "answering needs one of the fast tokenizers of transformers"
        )
    has_context = [example.text_pair is not None for example in examples]
    if any(has_context) and not all(has_context):
        raise UsageError("some of these questions have a context and some have none; give one kind")
    end = _missing_end(tokenizer)
    length = max_length - (end is not None)
    for begin in range(0, len(examples), CHUNK):
        chunk = examples[begin : begin + CHUNK]
        if has_context[0]:
            encoded = _encode_pairs(chunk, tokenizer, length, stride)
        else:
            encoded = _encode_questions(chunk, tokenizer, length)
        for number in range(len(encoded["input_ids"])):
            yield _window(encoded, number, begin, tokenizer, end)


def _missing_end(tokenizer: Any) -> int | None:
    """Return the token to append to each window, on which "no answer here" is read; None if a text has such a token.

    A decoder knows at the last token only whether there is an answer, and that must not be a part of one.
    """
    if tokenizer.cls_token_id is not None or tokenizer("a")["input_ids"][-1] in tokenizer.all_special_ids:
        return None
    return int(tokenizer.pad_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id)


def _encode_pairs(examples: Sequence[Example], tokenizer: Any, max_length: int, stride: int) -> Any:
    between = separator(tokenizer)
    reserved = len(tokenizer(between, add_special_tokens=False)["input_ids"]) if between else 0
    question_limit = max(1, max_length // QUESTION_SHARE - reserved)
    room = max_length - question_limit - reserved - tokenizer.num_special_tokens_to_add(pair=True)
    return tokenizer(
        [question + between for question in _truncated([one.text for one in examples], tokenizer, question_limit)],
        [example.text_pair for example in examples],
        truncation="only_second",
        max_length=max_length,
        stride=min(stride, room - 1),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )


def _encode_questions(examples: Sequence[Example], tokenizer: Any, max_length: int) -> Any:
    return tokenizer([example.text for example in examples], truncation=True, max_length=max_length)


def _truncated(questions: Sequence[str], tokenizer: Any, limit: int) -> list[str]:
    """Return the questions, each truncated to at most ``limit`` tokens.

    Cutting within a word can add tokens, so the length is checked again after each cut.
    """

    def offsets(texts: list[str]) -> Any:
        settings = {"add_special_tokens": False, "truncation": True, "max_length": limit + 1}
        return tokenizer(texts, **settings, return_offsets_mapping=True)["offset_mapping"]

    truncated = list(questions)
    for index, tokens in enumerate(offsets(truncated)):
        while len(tokens) > limit:
            truncated[index] = truncated[index][: min(tokens[limit - 1][1], len(truncated[index]) - 1)]
            (tokens,) = offsets([truncated[index]])
    return truncated


def _window(encoded: Any, number: int, begin: int, tokenizer: Any, end: int | None) -> Window:
    extra = {"offset_mapping", "overflow_to_sample_mapping"}
    features = {name: values[number] for name, values in encoded.items() if name not in extra}
    if end is not None:
        appended = {"input_ids": end, "attention_mask": 1}
        features = {name: [*values, appended.get(name, 0)] for name, values in features.items()}
    ids = features["input_ids"]
    last = len(ids) - 1 if tokenizer.cls_token_id is None else 0
    null = ids.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in ids else last
    if "offset_mapping" not in encoded:
        return Window(begin + number, features, null, 0, ())
    sides = encoded.sequence_ids(number)
    count = sides.count(1)
    first = sides.index(1) if count else 0
    offsets = tuple(map(tuple, encoded["offset_mapping"][number][first : first + count]))
    return Window(begin + encoded["overflow_to_sample_mapping"][number], features, null, first, offsets)


def _tokens_of(answer: Span, offsets: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the first and last token that overlap the answer; None if a part of it is outside."""
    begin = answer.start + len(answer.text) - len(answer.text.lstrip())
    end = answer.start + len(answer.text.rstrip())
    if begin >= end or begin < offsets[0][0] or end > offsets[-1][1]:
        return None
    first = next(index for index, (_, token_end) in enumerate(offsets) if token_end > begin)
    last = max(index for index, (token_start, _) in enumerate(offsets) if token_start < end)
    return (first, last) if first <= last else None
