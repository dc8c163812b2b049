"""What a person is told of the data before a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.summary import DataSummary
from autoopt.objectives.task import Task
from autoopt.objectives.tasks import find_task


def summary(path: Path, rows: list[dict[str, Any]], task: str, **settings: Any) -> DataSummary:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task_type: type[Task] = find_task(task)
    data = load_text_data(DataSettings(source=str(path), **settings), task_type)
    return DataSummary.of(task_type.of_data(data, max_length=16, metric=None), data)


def labelled(*labels: Any, count: int = 40) -> list[dict[str, Any]]:
    return [{"text": f"text {i}", "label": labels[i % len(labels)]} for i in range(count)]


def test_classes_are_counted_in_each_split_the_commonest_first(tmp_path: Path) -> None:
    result = summary(tmp_path / "a.jsonl", labelled("a", "b", "b"), "text_classification")
    assert result.answers == "one of 2 classes"
    assert list(result.counts) == ["b", "a"]
    assert {
        part: sum(counts[part] for counts in result.counts.values()) for part in ("train", "validation", "test")
    } == {part: result.rows[part] for part in ("train", "validation", "test")}
    validation = {name: counts["validation"] for name, counts in result.counts.items()}
    assert result.constant_quality == pytest.approx(validation["b"] / sum(validation.values()))


def test_the_words_of_single_texts_with_one_class_are_judged(tmp_path: Path) -> None:
    rows = [{"text": f"{'good' if i % 2 else 'bad'} text {i}", "label": "ab"[i % 2]} for i in range(200)]
    result = summary(tmp_path / "a.jsonl", rows, "text_classification")
    assert result.bag_of_words_quality == 1.0
    assert result.to_json()["bag_of_words_quality"] == 1.0
    pairs = [{**row, "text_pair": f"other {i}"} for i, row in enumerate(rows)]
    assert summary(tmp_path / "b.jsonl", pairs, "sentence_pair").bag_of_words_quality is None
    several = [{**row, "label": ["a", row["label"]]} for row in rows]
    assert summary(tmp_path / "c.jsonl", several, "text_classification").bag_of_words_quality is None


def test_several_classes_numbers_and_tags_are_told_apart(tmp_path: Path) -> None:
    several = summary(tmp_path / "a.jsonl", labelled(["a"], ["a", "b"], []), "text_classification")
    assert several.answers == "any number of 2 classes"
    assert sum(several.counts["a"].values()) == 27
    pairs = [{"text": f"t {i}", "text_pair": f"o {i}", "label": i / 8} for i in range(40)]
    numbers = summary(tmp_path / "b.jsonl", pairs, "sentence_pair")
    assert numbers.answers.startswith("a number; the training data have 0")
    assert (numbers.counts, numbers.constant_quality) == ({}, 0.0)


SCHEMES = {
    "BIO": (["B-PER", "I-PER", "O"], "BIO"),
    "IOB1": (["I-PER", "I-PER", "O", "I-LOC", "B-LOC"], "IOB1"),
    "IO": (["I-PER", "O", "I-LOC"], "IO"),
    "BILOU": (["B-PER", "L-PER", "U-LOC", "O"], "BILOU"),
    "IOBES": (["B-PER", "E-PER", "S-LOC", "O"], "IOBES"),
    "types": (["PER", "O", "LOC"], "tags without prefixes"),
}


@pytest.mark.parametrize(("tags", "name"), SCHEMES.values(), ids=SCHEMES)
def test_the_tag_scheme_is_named_and_entities_are_counted(tmp_path: Path, tags: list[str], name: str) -> None:
    rows = [{"tokens": [f"w{i}", *"abcd"[: len(tags) - 1]], "tags": tags} for i in range(40)]
    result = summary(tmp_path / "a.jsonl", rows, "token_classification")
    assert result.answers.startswith(f"a tag for each word; {name}, ")
    assert sum(result.counts["PER"].values()) == 40
    assert result.constant_quality is not None


def test_rows_left_out_are_listed_with_reason_and_place(tmp_path: Path) -> None:
    rows = [*labelled("a", "b", count=300), {"text": "text 0", "label": "a"}, {"text": " ", "label": "a"}]
    rows += [{"text": "x", "label": None}]
    result = summary(tmp_path / "a.jsonl", rows, "text_classification")
    assert {(item.rows, item.part, item.reason) for item in result.left_out} == {
        (1, "train", "exact duplicate"),
        (1, "train", "blank text"),
        (1, "train", "cannot be read"),
    }
    document = result.to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["left_out"][1]["details"][0].startswith(f"{tmp_path}/a.jsonl:303: the column 'label' has no label")


def test_questions_without_an_answer_are_counted(tmp_path: Path) -> None:
    answers = [{"text": ["Ann"], "answer_start": [0]}, {"text": [], "answer_start": []}]
    rows = [{"question": f"Who {i}?", "context": f"Ann {i}", "answers": answers[i % 2]} for i in range(40)]
    result = summary(tmp_path / "a.jsonl", rows, "question_answering")
    assert result.answers.startswith("a span of the context, none for ")
    assert result.counts == {}
    assert result.constant_quality is not None
    assert 0 < result.constant_quality < 1


def test_running_text_has_no_constant_answer(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}"} for i in range(40)]
    assert summary(tmp_path / "a.jsonl", rows, "causal_lm").constant_quality is None
