from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.task import Task
from autoopt.objectives.tasks.sequence_classification import Problem
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.search.study.test_split import evaluate_on_test, readable, write_predictions
from autoopt.strategies.candidate import Candidate, Example, Span
from tests import tiny

EXAMPLES = tiny.examples(30, seed=3)


def task_of(candidate: Candidate) -> Task:
    assert isinstance(candidate.task, Task)
    return candidate.task


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_model_equal_to_the_baseline_has_difference_0_and_p_1(tmp_path: Path) -> None:
    candidate = tiny.candidate()
    task = task_of(candidate)
    first = evaluate_on_test(task, candidate, EXAMPLES, baseline=None, predictions=tmp_path / "0.jsonl")
    again = evaluate_on_test(task, candidate, EXAMPLES, baseline=first.outcomes, predictions=tmp_path / "1.jsonl")
    assert first.difference is None
    assert again.to_json()["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0}
    assert again.test == first.test


def test_the_difference_to_the_baseline_is_that_of_the_two_scores(tmp_path: Path) -> None:
    random, right = tiny.candidate(), tiny.candidate()
    task = task_of(random)
    truths = [[example.label, example.label] for example in EXAMPLES]
    import numpy as np

    result = evaluate_on_test(task, right, EXAMPLES, baseline=np.array(truths), predictions=tmp_path / "1.jsonl")
    assert result.difference is not None
    assert result.difference.value == pytest.approx(result.test["test_quality"].value - 1.0)
    assert result.difference.value < 0
    assert result.difference.p_value < 0.05


def test_the_model_is_asked_once_for_scores_difference_and_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = tiny.candidate()
    task, answered = task_of(candidate), []
    answer = TextClassification.answer

    def counting(self: TextClassification, candidate: Candidate, examples: Sequence[Example]) -> list[Any]:
        answered.append(tuple(examples))
        return answer(self, candidate, examples)

    monkeypatch.setattr(TextClassification, "answer", counting)
    evaluate_on_test(task, candidate, EXAMPLES, baseline=None, predictions=tmp_path / "0.jsonl")
    assert answered == [EXAMPLES]


def test_the_predictions_are_a_line_for_each_example_from_which_the_score_follows(tmp_path: Path) -> None:
    candidate, path = tiny.candidate(), tmp_path / "predictions" / "trial-0000.jsonl"
    result = evaluate_on_test(task_of(candidate), candidate, EXAMPLES, baseline=None, predictions=path)
    written = lines(path)
    assert [line["text"] for line in written] == [example.text for example in EXAMPLES]
    assert [line["truth"] for line in written] == [tiny.LABELS[tiny.class_of(example)] for example in EXAMPLES]
    assert all(list(line) == ["text", "truth", "answer"] for line in written)
    right = sum(line["truth"] == line["answer"] for line in written)
    assert right / len(written) == result.test["test_quality"].value
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_pair_has_both_texts_and_several_classes_are_a_list_of_names(tmp_path: Path) -> None:
    task = TextClassification(labels=("cup", "bank"), kind=Problem.CLASSES)
    pair = Example("a\nline\u2028and ünïcode", (0, 1), text_pair="b")
    write_predictions(task, [pair], [()], tmp_path / "p.jsonl")
    [line] = (tmp_path / "p.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert json.loads(line) == {
        "text": "a\nline\u2028and ünïcode",
        "text_pair": "b",
        "truth": ["cup", "bank"],
        "answer": [],
    }


@pytest.mark.parametrize(
    ("label", "classes", "shown"),
    [
        (1, ("business", "sport"), "sport"),
        (3.5, (), 3.5),
        (7, (), 7),
        (-100, ("O", "B"), -100),
        ((0, 1, 0), ("O", "B"), ["O", "B", "O"]),
        ((Span("the cup", 12), Span("cup", 16)), (), ["the cup", "cup"]),
        (None, ("O",), None),
    ],
)
def test_labels_of_every_kind_are_shown_as_a_person_reads_them(
    label: Any, classes: tuple[str, ...], shown: Any
) -> None:
    assert readable(label, classes) == shown
