"""Words of Chinese, Japanese and Thai: in predictions as in the training data, with the right characters."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.objectives.tasks.token_classification.words import split_words, word_cutter
from autoopt.strategies import saving
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.augmentation.random_edits import RandomEdits
from autoopt.strategies.candidate import Candidate, Example
from tests import tiny

CHINESE = {"name": ("小明", "王芳", "李雷"), "place": ("北京", "上海", "广州"), "rest": ("在", "住在", "去了", "工作")}
THAI = {"name": ("สมชาย", "มานี", "ปิติ"), "place": ("กรุงเทพ", "เชียงใหม่", "ภูเก็ต"), "rest": ("อยู่", "ที่", "ไป")}


def sentences(words: Mapping[str, Sequence[str]], cut: Callable[[str], list[str]]) -> list[dict[str, Any]]:
    """A person, something, a place, something: cut into words or characters."""
    chance = random.Random(1)
    rows = []
    for _ in range(120):
        parts = [("PER", "name"), ("", "rest"), ("LOC", "place"), ("", "rest")]
        tokens: list[str] = []
        tags: list[str] = []
        for kind, key in parts:
            pieces = cut(chance.choice(words[key]))
            tokens += pieces
            tags += [f"{'I' if index else 'B'}-{kind}" if kind else "O" for index in range(len(pieces))]
        rows.append({"tokens": tokens, "tags": tags, "document": None})
    return rows


def body(folder: Path, vocabulary: Sequence[str]) -> str:
    """A tiny encoder with a tokenizer that knows these pieces."""
    from transformers import BertTokenizer

    listed = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(vocabulary)]
    listed += [f"x{number}" for number in range(len(tiny.VOCABULARY) - len(listed))]
    model = tiny.model()
    model.resize_token_embeddings(len(listed))
    tokenizer = BertTokenizer(
        {piece: number for number, piece in enumerate(listed)}, do_lower_case=False, strip_accents=False
    )
    saving.save(Candidate(model, tokenizer, tiny.candidate().task), folder)
    return str(folder)


def learn(tmp_path: Path, rows: list[dict[str, Any]], vocabulary: Sequence[str]) -> Candidate:
    path = tmp_path / "a.jsonl"
    unique = {json.dumps(row, ensure_ascii=False) for row in rows}
    path.write_text("".join(f"{line}\n" for line in sorted(unique)), encoding="utf-8")
    data = load_text_data(DataSettings(source=str(path)), TokenClassification)
    task = TokenClassification.of_data(data, max_length=32, metric=None)
    opened = task.open_model(body(tmp_path / "body", vocabulary), data=data)
    learned = FullFinetuning(learning_rate=5e-3, epochs=20, batch_size=8).apply(opened, effort=1, seed=0)
    saving.save(learned, tmp_path / "model")
    return saving.load(tmp_path / "model", open_task=open_task)


def entities(candidate: Candidate, text: str) -> list[tuple[str, str, int]]:
    (answer,) = candidate.task.predict(candidate, [text])  # type: ignore[attr-defined]
    assert all(text[found["start"] : found["end"]] == found["text"] for found in answer["entities"])
    return [(found["type"], found["text"], found["start"]) for found in answer["entities"]]


@pytest.mark.slow
def test_chinese_that_was_tagged_by_the_character(tmp_path: Path) -> None:
    everything = [character for words in CHINESE.values() for word in words for character in word]
    candidate = learn(tmp_path, sentences(CHINESE, list), everything)
    assert entities(candidate, "小明住在北京工作") == [("PER", "小明", 0), ("LOC", "北京", 4)]
    assert entities(candidate, "  王芳 去了上海 在") == [("PER", "王芳", 2), ("LOC", "上海", 7)]


def test_chinese_that_was_tagged_by_the_word(tmp_path: Path) -> None:
    everything = [character for words in CHINESE.values() for word in words for character in word]
    candidate = learn(tmp_path, sentences(CHINESE, lambda word: [word]), everything)
    assert candidate.task.to_json()["lexicon"] == sorted(word for words in CHINESE.values() for word in words)
    assert entities(candidate, "李雷去了广州工作") == [("PER", "李雷", 0), ("LOC", "广州", 4)]


def test_thai_that_was_tagged_by_the_word(tmp_path: Path) -> None:
    everything = [word for words in THAI.values() for word in words]
    candidate = learn(tmp_path, sentences(THAI, lambda word: [word]), everything)
    assert entities(candidate, "สมชายอยู่เชียงใหม่ที่") == [("PER", "สมชาย", 0), ("LOC", "เชียงใหม่", 9)]


def test_without_training_words_the_pieces_of_the_tokenizer_are_words(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "อยู่", "##ที่", "小", "明"]
    tokenizer = BertTokenizer(
        {piece: number for number, piece in enumerate(pieces)}, do_lower_case=False, strip_accents=False
    )
    cut = word_cutter((), tokenizer)
    assert [word.text for word in split_words("小明 อยู่ที่ ok", cut)] == ["小", "明", "อยู่", "ที่", "ok"]


def test_a_task_without_such_words_is_saved_as_before() -> None:
    task = TokenClassification(labels=("O", "B-PER"))
    assert "lexicon" not in task.to_json()
    with_words = TokenClassification(labels=("O", "B-PER"), lexicon=("北京",))
    assert TokenClassification.from_json(with_words.to_json()) == with_words


@pytest.mark.parametrize("text", ["我在北京工作", "สมชายอยู่ที่กรุงเทพ"])
def test_texts_without_blanks_are_edited_in_part(text: str) -> None:
    candidate = tiny.candidate().evolve("train", train=(Example(text, 0),))
    edited = RandomEdits(share=0.2, copies=4).apply(candidate, effort=1, seed=0).train[1:]
    assert len({example.text for example in edited}) > 1
    assert all(" " not in example.text and len(example.text) > len(text) / 2 for example in edited)
