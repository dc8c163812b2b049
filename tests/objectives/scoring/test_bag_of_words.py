from __future__ import annotations

import pytest

from autoopt.objectives.scoring import bag_of_words
from tests import tiny


def accuracy(answers: list[int], truth: list[int]) -> float:
    return sum(a == b for a, b in zip(answers, truth, strict=True)) / len(truth)


def test_words_that_decide_are_learned() -> None:
    train, new = tiny.examples(60, seed=1), tiny.examples(60, seed=2)
    answers = bag_of_words.predict(
        [one.text for one in train], [tiny.class_of(one) for one in train], [one.text for one in new]
    )
    assert accuracy(answers, [tiny.class_of(one) for one in new]) > 0.95


def test_scripts_without_blanks_are_read_by_character() -> None:
    train = ["我喜欢这部电影", "这部电影很好看", "我讨厌这部电影", "这部电影很糟糕"] * 3
    assert bag_of_words.predict(train, [1, 1, 0, 0] * 3, ["电影好看喜欢", "糟糕讨厌电影"]) == [1, 0]


@pytest.mark.parametrize("new", [[], ["..."], ["unknown"]])
def test_texts_without_a_known_word_get_the_commonest_class(new: list[str]) -> None:
    assert bag_of_words.predict(["a good one", "a good two", "a bad one"], [1, 1, 0], new) == [1] * len(new)


def test_of_many_texts_a_sample_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bag_of_words, "MAX_TRAINING_TEXTS", 40)
    train = tiny.examples(200, seed=1)
    classes = [tiny.class_of(one) for one in train]
    texts = [one.text for one in train]
    assert accuracy(bag_of_words.predict(texts, classes, texts), classes) > 0.9
