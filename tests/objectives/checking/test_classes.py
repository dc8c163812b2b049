"""Classes that are rare, many, or in some of the data only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError


def write(path: Path, counts: dict[str, int], *, start: int = 0) -> str:
    labels = [name for name, count in counts.items() for _ in range(count)]
    rows = "".join(f"text {start + i},{name}\n" for i, name in enumerate(labels))
    path.write_text(f"text,label\n{rows}", encoding="utf-8")
    return str(path)


def load(**settings: Any) -> TextData:
    return load_text_data(DataSettings.model_validate(settings), TextClassification)


def counts_of(data: TextData, examples: tuple[Example, ...]) -> Counter[str]:
    return Counter(data.labels[int(example.label)] for example in examples)  # type: ignore[arg-type]


RARE = {"a": 40, "b": 40, "c": 2, "d": 1}


def test_all_rare_classes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"has 2 examples of the class 'c', 1 of 'd', too few for test, train, validation to have one each; add "
        r"examples, or write 'rare: drop' under data to leave them out, or 'rare: keep' to train on them",
    ):
        load(source=write(tmp_path / "a.csv", RARE))


def test_rare_classes_may_be_dropped_from_all_data(tmp_path: Path) -> None:
    data = load(source=write(tmp_path / "a.csv", RARE), rare="drop")
    assert data.labels == ("a", "b")
    assert [(item.reason, item.rows, item.part) for item in data.left_out] == [("rare class", 3, "train")]
    assert data.warnings == (
        "left out 3 rows of 2 classes: 'c', 'd', too rare to be in each split (data.rare)",
    )  # fmt: skip
    with_test = load(
        train=write(tmp_path / "train.csv", {"a": 40, "b": 40, "d": 1}),
        test=write(tmp_path / "test.csv", {"a": 5, "b": 5, "d": 2}, start=500),
        rare="drop",
    )
    assert with_test.labels == ("a", "b")
    assert [(item.rows, item.part) for item in with_test.left_out] == [(1, "train"), (2, "test")]


def test_rare_classes_may_be_trained_only(tmp_path: Path) -> None:
    data = load(source=write(tmp_path / "a.csv", RARE), rare="keep")
    assert data.labels == ("a", "b", "c", "d")
    assert {name: counts_of(data, data.train)[name] for name in "cd"} == {"c": 2, "d": 1}
    assert set(counts_of(data, data.validation)) == set(counts_of(data, data.test)) == {"a", "b"}
    assert len(data.train) + len(data.validation) + len(data.test) == 83
    assert data.warnings == (
        "all 3 examples of 2 classes: 'c', 'd' are in training and none is scored (data.rare)",
    )  # fmt: skip
    assert load(source=write(tmp_path / "b.csv", RARE), rare="keep", split={"train": 50}).train != data.train


def test_a_class_with_an_example_for_each_split_is_not_rare(tmp_path: Path) -> None:
    for rare in ("error", "drop", "keep"):
        data = load(source=write(tmp_path / "a.csv", {"a": 40, "b": 40, "c": 3}), rare=rare)
        assert [counts_of(data, part)["c"] for part in (data.train, data.validation, data.test)] == [1, 1, 1]


def test_more_than_a_thousand_classes_need_a_word(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", {f"class {i}": 3 for i in range(1001)})
    split = {"validation": 1001, "test": 1001}
    with pytest.raises(DataError, match=r"1,001 different classes in 3,003 rows, .*write 'max_classes: 1001' under"):
        load(source=path, split=split)
    assert len(load(source=path, max_classes=1001, split=split).labels) == 1001


def test_all_classes_that_training_lacks_are_named_in_one_error(tmp_path: Path) -> None:
    files = {
        "train": write(tmp_path / "train.csv", {"a": 20, "b": 20}),
        "validation": write(tmp_path / "validation.csv", {"a": 4, "c": 2}, start=100),
        "test": write(tmp_path / "test.csv", {"a": 4, "bb": 3, "d": 1}, start=200),
    }
    with pytest.raises(DataError) as caught:
        load(**files)
    first, second, third = str(caught.value).splitlines()
    assert "validation.csv:6: the class 'c' (2 rows of validation) does not occur in the training data" in first
    assert "test.csv:6: the class 'bb' (3 rows of test) does not occur" in second
    assert "did you mean 'b'?" in second
    assert "test.csv:9: the class 'd' (1 rows of test)" in third
    assert third.endswith("; add training examples of them, or remove these rows")


def test_classes_that_a_given_split_lacks_are_said(tmp_path: Path) -> None:
    data = load(
        train=write(tmp_path / "train.csv", {"a": 20, "b": 20, "c": 20}),
        test=write(tmp_path / "test.csv", {"a": 4}, start=200),
    )
    assert data.warnings == ("the test data lacks 2 classes: 'b', 'c' of the training data",)
