from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.strategies.texts.words import (
    Lexicon,
    characters,
    edit_words,
    join_words,
    lexicon_of,
    script_of,
    script_runs,
    split_for_editing,
)

MIXED = st.text("abc 你好世界東京กรุงเทพ้าเ", max_size=20)


@pytest.mark.parametrize(
    ("run", "units"),
    [
        ("小明", ["小", "明"]),
        ("กรุงเทพ", ["ก", "รุ", "ง", "เท", "พ"]),
        ("น้ำ", ["น้ำ"]),
        ("か\u3099く", ["か\u3099", "く"]),
        ("", []),
    ],
)
def test_a_character_keeps_its_vowels_and_marks(run: str, units: list[str]) -> None:
    assert characters(run) == units


def test_a_word_is_cut_where_the_script_changes() -> None:
    assert script_runs("我在Beijing工作2024年") == ["我在", "Beijing", "工作", "2024", "年"]
    assert script_runs("東京タワー") == ["東京タワー"]
    assert script_runs("서울에서") == ["서울에서"]


def test_the_lexicon_holds_the_words_of_scripts_without_blanks() -> None:
    sentences = [["我", "在", "北京", "Beijing", "2024年", "。"], ["北京", "กรุงเทพ", "서울"]]
    assert lexicon_of(sentences) == tuple(sorted(["我", "在", "北京", "กรุงเทพ"]))


def test_a_run_is_cut_into_the_words_of_the_training_data() -> None:
    words = Lexicon(["北京", "大学", "北京大学", "学生", "前", "来", "应聘", "大学生"])
    assert words.cut("北京大学生前来应聘") == ["北京", "大学生", "前", "来", "应聘"]
    assert words.cut("北京陌生人来") == ["北京", "陌生人", "来"]


def test_a_run_is_cut_into_characters_where_the_training_data_are() -> None:
    assert Lexicon("我在北京工作").cut("我在上海") == ["我", "在", "上", "海"]


@given(
    st.text("北京大学生前来", min_size=1, max_size=12), st.sets(st.text("北京大学", min_size=1, max_size=3), min_size=1)
)
def test_no_cut_loses_or_moves_a_character(run: str, words: set[str]) -> None:
    assert "".join(Lexicon(words).cut(run)) == run


@given(MIXED)
def test_runs_and_characters_are_all_of_a_word(text: str) -> None:
    for word in text.split():
        assert "".join(part for run in script_runs(word) for part in characters(run)) == word


@given(st.text("abc ", max_size=20))
def test_words_between_blanks_are_split_and_joined_as_before(text: str) -> None:
    assert split_for_editing(text) == text.split()
    assert join_words(text.split()) == " ".join(text.split())


@given(MIXED)
def test_words_that_are_replaced_keep_the_blanks_between_them(text: str) -> None:
    assert edit_words(text, lambda words: words) == " ".join(text.split())
    assert edit_words(text, lambda words: ["x"] * len(words)).split() == [
        "x" * len(split_for_editing(word)) for word in text.split()
    ]


def test_texts_without_blanks_are_edited_by_the_character() -> None:
    assert split_for_editing("我爱 you 北京") == ["我", "爱", "you", "北", "京"]
    assert join_words(["北", "京", "我", "爱"]) == "北京我爱"
    assert script_of("a") is None
