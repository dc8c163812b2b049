from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.tasks.token_classification.words import split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Chelsea won, 2:1!", ["Chelsea", "won", ",", "2", ":", "1", "!"]),
        ("don't @paul_w", ["don", "'", "t", "@", "paul_w"]),
        ("cafe\u0301s नमस्ते می\u200cخواهم", ["cafe\u0301s", "नमस्ते", "می\u200cخواهم"]),
        ("東京…ok", ["東", "京", "…", "ok"]),
        (" \t\n", []),
        ("", []),
    ],
)
def test_a_text_is_split_into_words_and_single_marks(text: str, words: list[str]) -> None:
    assert [word.text for word in split_words(text)] == words


@given(st.text())
def test_the_words_of_a_text_are_all_of_it_but_the_blanks(text: str) -> None:
    words = split_words(text)
    assert all(text[word.start : word.end] == word.text != "" for word in words)
    assert "".join(word.text for word in words) == "".join(text.split())
