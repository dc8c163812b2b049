"""A long text has the same first tokens whether it is tokenized whole or not."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.strategies.texts.beginnings import CHARACTERS, beginning, reads_word_by_word, tokenize
from tests import tiny, tiny_decoder, zoo

WORDS = ("a1", "zz top!", "don't", "x" * 40, "  ", "Öl,", "日本語", "word\nline", "a0 a1 a2")
TOKENIZERS = {
    "wordpiece": lambda: tiny.candidate().tokenizer,
    "bytes": lambda: tiny_decoder.candidate().tokenizer,
    "roberta": lambda: zoo.candidate("roberta").tokenizer,
}


@cache
def tokenizer_of(kind: str) -> Any:
    return TOKENIZERS[kind]()


@given(st.sampled_from(list(TOKENIZERS)), st.lists(st.sampled_from(WORDS), max_size=200), st.integers(4, 40))
def test_the_features_are_the_tokenizers_own(kind: str, words: list[str], max_length: int) -> None:
    tokenizer, texts = tokenizer_of(kind), [" ".join(words), "a0"]
    encoded = tokenizer(texts, truncation=True, max_length=max_length)
    assert [features["input_ids"] for features in tokenize(tokenizer, texts, max_length)] == encoded["input_ids"]


def test_a_beginning_ends_with_a_word_and_a_short_text_is_itself() -> None:
    text = "word " * 1000
    start = beginning(text, 10)
    assert len(start) < CHARACTERS * 10
    assert set(start.split()) == {"word"}
    assert beginning("word " * 3, 10) == "word " * 3
    assert beginning("x" * 1000, 10) == "x" * 1000


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_less_of_a_long_text_is_tokenized(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read, tokenizer = list[int](), tokenizer_of(kind)
    original = type(tokenizer).__call__

    def call(self: Any, texts: list[str], **settings: Any) -> Any:
        read.extend(map(len, texts))
        return original(self, texts, **settings)

    monkeypatch.setattr(type(tokenizer), "__call__", call)
    tokenize(tokenizer, ["a0 a1 a2 " * 1000], 16)
    assert read[0] <= CHARACTERS * 16
    assert reads_word_by_word(tokenizer.backend_tokenizer)
