"""Labels in the forms that other programs write: placeholders, lists of one, lists as text, one-hot columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tables.list_text import parse_list
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.strategies.errors import DataError

PRINTED = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cf", "Co", "Cn", "Zs"])
"""Characters that ``repr`` writes as they are."""


def write(path: Path, labels: list[Any], *, column: str = "label") -> Path:
    rows = [{"text": f"text {number}", column: label} for number, label in enumerate(labels)]
    if path.suffix == ".csv":
        pandas.DataFrame(rows).to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def load(source: Path | None = None, **settings: Any) -> TextData:
    given = {"source": str(source)} if source else {}
    return load_text_data(DataSettings.model_validate({**given, **settings}), TextClassification)


def total(data: TextData) -> int:
    return len(data.train) + len(data.validation) + len(data.test)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_dash_beside_named_classes_is_no_label(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [*(["yes", "no"] * 20), "-", "-"], column="gold_label")
    data = load(path)
    assert data.labels == ("no", "yes")
    assert total(data) == 40
    place = f"{path}:{42 if name == 'a.csv' else 41}"
    assert data.warnings == (f"left out 2 of 42 rows without a label in the column 'gold_label', the first at {place}",)


def test_a_dash_beside_a_plus_is_a_class(tmp_path: Path) -> None:
    assert load(write(tmp_path / "a.csv", ["+", "-"] * 20)).labels == ("+", "-")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_rare_minus_one_beside_classes_counted_from_zero_is_no_label(tmp_path: Path, name: str) -> None:
    data = load(write(tmp_path / name, [*([0, 1, 2] * 20), -1]))
    assert (data.labels, total(data)) == (("0", "1", "2"), 60)
    assert data.warnings[0].startswith("left out 1 of 61 rows without a label")


def test_minus_one_is_a_class_where_it_is_frequent_and_that_is_said(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.jsonl", [-1, 0, 1] * 20))
    assert data.labels == ("-1", "0", "1")
    [warning] = data.warnings
    assert warning.startswith("-1 is read as a class in 20 of 60 rows of the column 'label'; if it marks rows without")
    (tmp_path / "b").mkdir()
    assert load(write(tmp_path / "b" / "a.jsonl", [-1, 1] * 20)).warnings == ()
    assert load(write(tmp_path / "b" / "a.jsonl", [-2, -1, 0, 1, 2] * 20)).labels == ("-2", "-1", "0", "1", "2")


def test_test_data_follow_the_training_data_in_what_is_no_label(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [0, 1] * 20)
    test = tmp_path / "test.jsonl"
    test.write_text('{"text": "a", "label": -1}\n{"text": "b", "label": 1}\n', "utf-8")
    data = load(train=str(train), test=str(test))
    assert [example.text for example in data.test] == ["b"]
    left_out = f"left out 1 of 2 rows without a label in the column 'label', the first at {test}:1"
    assert data.warnings == (left_out, "the test data lacks the class '0' of the training data")
    test.write_text('{"text": "a", "label": -1}\n{"text": "b", "label": -1}\n', "utf-8")
    with pytest.raises(DataError, match=r"test.jsonl:1: the column 'label' has no label in 2 of 2 rows"):
        load(train=str(train), test=str(test))


def test_lists_of_one_class_are_single_classes(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.jsonl", [["a"], ["b"]] * 20))
    assert data.labels == ("a", "b")
    assert {type(example.label) for example in data.train} == {int}
    assert "the lists in the column 'label' hold one class each, and were read as single classes" in data.notes


def test_empty_lists_beside_lists_of_one_class_are_rows_without_a_label(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.jsonl", [*([["a"], ["b"]] * 20), []]))
    assert total(data) == 40
    assert data.warnings[0].startswith("left out 1 of 41 rows without a label in the column 'label'")


def test_lists_of_which_one_has_two_classes_stay_lists_in_all_data(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [["a"], ["b"], [], ["a", "b"]] * 10)
    test = tmp_path / "test.jsonl"
    test.write_text('{"text": "x", "label": ["a"]}\n', "utf-8")
    data = load(train=str(train), test=str(test))
    assert {type(example.label) for example in (*data.train, *data.test)} == {tuple}
    assert total(data) == 41


def test_lists_written_as_text_are_lists(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.csv", [["a", "b"], ["b"], ["it's"], []] * 10))
    assert data.labels == ("a", "b", "it's")
    assert "the lists in the column 'label' are written as text, and were read as lists" in data.notes


def test_words_and_tags_written_as_text_are_lists(tmp_path: Path) -> None:
    rows = [{"tokens": ["Anna", f"w{number}", "it's"], "tags": ["B-PER", "O", "O"]} for number in range(20)]
    path = tmp_path / "a.csv"
    pandas.DataFrame(rows).to_csv(path, index=False)
    data = load_text_data(DataSettings(source=str(path)), TokenClassification)
    assert data.labels == ("O", "B-PER")
    assert data.train[0].text.endswith(" it's")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("[]", []),
        ("['a', 'b']", ["a", "b"]),
        ("['a' 'b']", ["a", "b"]),
        ('["a\\"b", 1, 2.5, None]', ['a"b', 1, 2.5, None]),
        (" ['New York',] ", ["New York"]),
        ("['a', ...]", None),
        ("[a, b]", None),
        ("[draft] text", None),
        ("[see above]", None),
        ("['a'", None),
        ("[1 2]", [1, 2]),
        ("[['a'], ['b']]", None),
    ],
)
def test_a_list_as_text_is_read_as_python_json_or_numpy_wrote_it(text: str, items: list[Any] | None) -> None:
    assert parse_list(text) == items


@given(st.lists(st.one_of(st.text(PRINTED), st.integers())))
def test_what_python_writes_is_read_back(items: list[Any]) -> None:
    assert parse_list(repr(items)) == items


def test_one_hot_columns_are_single_classes_where_each_row_has_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text,pos,neg\n" + "".join(f"{i},text {i},{i % 2},{1 - i % 2}\n" for i in range(40)), "utf-8")
    data = load(path)
    assert data.labels == ("neg", "pos")
    assert {data.labels[example.label] for example in data.train if example.text == "text 1"} <= {"pos"}  # type: ignore[index]
    assert {type(example.label) for example in data.train} == {int}
    assert "the columns pos, neg hold 0 and 1, and were read as classes" in data.notes


def test_one_hot_columns_are_several_classes_where_a_row_has_two(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    rows = "".join(f"{i:04x},comment {i},{i % 2},{i % 3 // 2},0\n" for i in range(60))
    path.write_text("id,comment_text,toxic,insult,threat\n" + rows, "utf-8")
    data = load(path, text="comment_text")
    assert data.labels == ("insult", "toxic")
    assert {type(example.label) for example in data.train} == {tuple}
    assert total(data) == 60


def test_one_class_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.jsonl", ["caf\u00e9", "cafe\u0301", "bar"] * 15))
    assert data.labels == ("bar", "caf\u00e9")
