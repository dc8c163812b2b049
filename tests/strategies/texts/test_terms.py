"""Terms of texts and their weights."""

from __future__ import annotations

import math

import pytest

from autoopt.strategies.texts.terms import Vocabulary, blocks, words_of


def test_a_short_text_has_words_pairs_of_words_and_groups_of_characters() -> None:
    words, characters = blocks(("A cat, a dog", None), characters=True)
    assert words == {"a": 2, "cat": 1, "dog": 1, "a cat": 1, "cat a": 1, "a dog": 1}
    assert characters["# a "] == 2
    assert characters["# cat "] == 1
    assert "#t, " not in characters
    assert blocks(("A cat, a dog", None), characters=False) == [words]


def test_two_texts_have_what_is_common_to_them_and_what_one_has_alone() -> None:
    words, overlap = blocks(("a cat", "A dog"), characters=False)
    assert words == {"=a": 1, "<cat": 1, "<a cat": 1, ">dog": 1, ">a dog": 1}
    assert {"overlap all 3", "overlap first 5", "overlap second 5"} <= set(overlap)
    assert {"overlap all 4", "overlap first 6"}.isdisjoint(overlap)


def test_scripts_without_blanks_are_cut_into_characters() -> None:
    assert words_of("我喜欢 Films") == ["我", "喜", "欢", "films"]


def test_a_row_has_length_one_for_each_kind_of_term_and_nothing_unknown() -> None:
    vocabulary = Vocabulary.of([("a cat sat", None), ("a cat ran", None), ("a dog", None)])
    columns, values = vocabulary.row(("a cat unknown a", None))
    terms = list(vocabulary.columns)
    words = [value for column, value in zip(columns, values, strict=True) if not terms[column].startswith("#")]
    assert math.hypot(*words) == pytest.approx(1)
    assert math.hypot(*values) == pytest.approx(math.sqrt(2))
    assert {terms[column] for column in columns} <= set(terms)
    assert {"a", "cat", "a cat"} <= {terms[column] for column in columns}
    assert vocabulary.row(("zzz", None)) == ([], [])


def test_a_term_counts_more_the_rarer_it_is_and_the_more_often_it_stands_there() -> None:
    vocabulary = Vocabulary.of([("a cat", None), ("a cat", None), ("a dog", None)], characters=False)
    assert vocabulary.weights[vocabulary.columns["cat"]] == pytest.approx(1 + math.log(4 / 3))
    assert vocabulary.weights[vocabulary.columns["a"]] == pytest.approx(1)
    assert "dog" not in vocabulary.columns
    columns, values = vocabulary.row(("a a cat", None))
    by_term = dict(zip(columns, values, strict=True))
    ratio = by_term[vocabulary.columns["a"]] / by_term[vocabulary.columns["cat"]]
    assert ratio == pytest.approx((1 + math.log(2)) / (1 + math.log(4 / 3)))
