"""Tables as spreadsheets, pandas and people write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.file_formats import read, read_usable
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.task import Task
from autoopt.objectives.tasks.sentence_pair.task import SentencePair
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.strategies.candidate import Example
from autoopt.strategies.errors import DataError


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def lines(count: int, *, start: int = 0, labels: tuple[str, ...] = ("a", "b")) -> str:
    return "".join(f"text {i},{labels[i % len(labels)]}\n" for i in range(start, start + count))


def load(task_type: type[Task] = TextClassification, **settings: Any) -> TextData:
    return load_text_data(DataSettings.model_validate(settings), task_type)


def everything(data: TextData) -> list[Example]:
    return [*data.train, *data.validation, *data.test]


def test_empty_columns_at_the_end_are_those_of_a_spreadsheet(tmp_path: Path) -> None:
    table = read(Path(write(tmp_path / "a.csv", "text,label,,\none,a,,\n,,,\ntwo,b,,\n")))
    assert (table.columns, table.rows) == (("text", "label"), [["one", "a"], ["two", "b"]])


def test_a_value_in_a_column_without_a_name_is_not_dropped(tmp_path: Path) -> None:
    table = read_usable(Path(write(tmp_path / "a.csv", "text,label,,\none,a,,\ntwo, three,b,\n")))
    assert table.rows == [["one", "a"]]
    assert table.bad_rows == (
        f"{tmp_path}/a.csv:3: 4 fields where the header has 2; put quotes around a text that contains the delimiter",
    )


@pytest.mark.parametrize(
    "texts",
    [
        ["line one\nline two", "plain"],
        ["line one\nline two\n\nline four", 'he said "no"\nand left', '"'],
        ["a\ttab", "two\t\ttabs and\na line", '"quoted"\n"again"', 'it is 5" long'],
        ["\n", "\t", '""\n""', "end with a line\n"],
        ["carriage\r\nreturn", "x"],
    ],
)
@pytest.mark.parametrize("columns", [["text", "label"], ["label", "text"], ["id", "text", "label"]])
def test_a_tsv_that_pandas_wrote_is_read_back(tmp_path: Path, texts: list[str], columns: list[str]) -> None:
    frame = pd.DataFrame({"id": range(len(texts)), "text": texts, "label": "a"})[columns]
    frame.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    table = read(tmp_path / "a.tsv")
    assert table.rows == frame.astype(str).to_numpy().tolist()


def test_quotes_that_are_text_stay_text_beside_those_of_pandas(tmp_path: Path) -> None:
    content = 'text\tlabel\n"Oh, he said\ta\nno quote\ta\nstop"\ta\n"one\ntwo"\tb\n"never closed\ta\nlast\tb\n'
    table = read(Path(write(tmp_path / "a.tsv", content)))
    assert [row[0] for row in table.rows] == [
        '"Oh, he said', "no quote", 'stop"', "one\ntwo", '"never closed', "last"
    ]  # fmt: skip
    assert [place.rpartition(":")[2] for place in table.places] == ["2", "3", "4", "5", "7", "8"]


def test_many_open_quotes_are_read_in_time(tmp_path: Path) -> None:
    content = "text\tlabel\n" + '"open\ta\nplain\tb\n' * 20_000 + "three\tfields\there\n"
    assert len(read_usable(Path(write(tmp_path / "a.tsv", content))).rows) == 40_000


@pytest.mark.parametrize(
    ("train", "test"),
    [(("1.0", "0.0"), ("1", "0")), (("1", "0"), ("1.0", "0.00")), (("true", "False"), ("TRUE", "false")),
     (("-1", "1"), ("-1.0", "1"))],
)  # fmt: skip
def test_spellings_of_one_class_are_one_class(tmp_path: Path, train: tuple[str, str], test: tuple[str, str]) -> None:
    data = load(
        train=write(tmp_path / "train.csv", f"text,label\n{lines(40, labels=train)}"),
        test=write(tmp_path / "test.csv", f"text,label\n{lines(20, start=100, labels=test)}"),
    )
    assert sorted(data.labels) == sorted(train)
    assert {data.labels[int(example.label)] for example in data.test} == set(train)  # type: ignore[arg-type]
    assert any("classes that are written in several ways are read as one: '" in note for note in data.notes)


def test_the_commonest_spelling_names_the_class(tmp_path: Path) -> None:
    content = f"text,label\n{lines(20, labels=('true', 'false'))}one,True\ntwo,TRUE\n"
    assert load(source=write(tmp_path / "a.csv", content)).labels == ("false", "true")


def test_other_spellings_are_other_classes(tmp_path: Path) -> None:
    content = f"text,label\n{lines(40, labels=('01', '1', 'Yes', 'yes'))}"
    assert load(source=write(tmp_path / "a.csv", content)).labels == ("01", "1", "Yes", "yes")


def pairs(*scores: str) -> str:
    head = "sentence1\tsentence2\tscore\n".replace("score", "label")
    return head + "".join(f"text {i}\tother {i}\t{scores[i % len(scores)]}\n" for i in range(40))


@pytest.mark.parametrize(
    ("scores", "values"),
    [
        (("0,5", "1,25", "3"), {0.5, 1.25, 3.0}),
        (("0,125", "4,250"), {0.125, 4.25}),
        (("1.234,5", "2,0"), {1234.5, 2.0}),
        (("-0,5", "+2,5"), {-0.5, 2.5}),
        (("0.5", "1.25"), {0.5, 1.25}),
    ],
)
def test_numbers_may_have_decimal_commas(tmp_path: Path, scores: tuple[str, ...], values: set[float]) -> None:
    data = load(SentencePair, source=write(tmp_path / "a.tsv", pairs(*scores)))
    assert {example.label for example in everything(data)} == values


def test_a_comma_that_may_separate_thousands_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'1,234', which may be a decimal comma or a comma between thousands; write"):
        load(SentencePair, source=write(tmp_path / "a.tsv", pairs("1,234", "5,678", "7")))


def test_a_decimal_comma_among_decimal_points_is_a_bad_row(tmp_path: Path) -> None:
    content = pairs("0.5", "1.5").replace("0.5", "0,5", 1)
    with pytest.raises(DataError, match=r"a.tsv:2: the column 'label' holds '0,5', no finite number"):
        load_text_data(DataSettings(source=write(tmp_path / "a.tsv", content)), SentencePair, metric="pearson")


BAD_LINES: dict[str, tuple[str, bytes, str]] = {
    "too many fields": ("a.csv", b"one, two,a\n", "3 fields where the header has 2"),
    "a quote within a field": ("a.csv", b'"one" two,a\n', "',' expected after '\"'"),
    "a quote that nobody closes": ("a.csv", b'"one,a\n', "close the quote, or double a quote"),
    "latin-1": ("a.csv", b"caf\xe9,a\n", "is not UTF-8"),
    "a NUL byte": ("a.csv", b"x\0y,a\n", "is NUL"),
    "no label": ("a.csv", b"one,\n", "has no label"),
    "a label with a control character": ("a.csv", b"one,\x1b[31mred\n", "holds a control character"),
    "latin-1 in a tsv": ("a.tsv", b"caf\xe9\ta\n", "is not UTF-8"),
    "a line that is no JSON": ("a.jsonl", b'{"text": \n', "no JSON at character"),
    "a number for a text": ("a.jsonl", b'{"text": 5, "label": "a"}\n', "holds 5 (int), no text"),
    "latin-1 in JSON": ("a.jsonl", b'{"text": "caf\xe9", "label": "a"}\n', "is not UTF-8"),
}


def good_rows(name: str, count: int, *, start: int = 0) -> str:
    if name.endswith(".jsonl"):
        return "".join(
            json.dumps({"text": f"text {i}", "label": "ab"[i % 2]}) + "\n" for i in range(start, start + count)
        )
    rows = lines(count, start=start)
    return rows.replace(",", "\t") if name.endswith(".tsv") else rows


def header(name: str) -> str:
    return {"csv": "text,label\n", "tsv": "text\tlabel\n", "jsonl": ""}[name.rpartition(".")[2]]


@pytest.mark.parametrize(("name", "line", "reason"), BAD_LINES.values(), ids=BAD_LINES)
def test_one_bad_row_of_hundreds_is_left_out_and_said(tmp_path: Path, name: str, line: bytes, reason: str) -> None:
    content = header(name) + good_rows(name, 200)
    path = write(tmp_path / name, content.encode() + line + good_rows(name, 200, start=200).encode())
    number = content.count("\n") + 1
    data = load(source=path)
    assert {example.text for example in everything(data)} == {f"text {i}" for i in range(400)}
    (left_out,) = data.left_out
    assert (left_out.reason, left_out.part, left_out.rows) == ("cannot be read", "train", 1)
    assert left_out.details[0].startswith(f"{path}:{number}: ")
    assert reason in left_out.details[0]
    (warning,) = data.warnings
    assert warning.startswith(f"left out 1 of 401 rows of the training data that cannot be used: {path}:{number}: ")
    with pytest.raises(DataError) as refused:
        load(source=path, tolerate=0)
    assert str(refused.value).startswith(f"{path}:{number}: ")


def test_a_quote_that_is_never_closed_costs_one_line(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.csv", 'text,label\n"open,a\n' + "some text,b\n" * 100_000))
    table = read_usable(path)
    assert len(table.rows) == 100_000
    (problem,) = table.bad_rows
    assert problem.startswith(f"{path}:2: the record that begins here is longer than 1,000,000 characters; a quote in")


@pytest.mark.parametrize(
    ("tolerate", "is_refused"), [(None, True), ("5%", False), (0.05, False), ("4.9%", True), (0, True)]
)
def test_more_bad_rows_than_tolerated_are_refused_in_one_report(
    tmp_path: Path, tolerate: Any, is_refused: bool
) -> None:
    bad = "".join(f"bad {i}\n" for i in range(25))
    path = write(tmp_path / "a.csv", f"text,label\n{lines(475)}{bad}")
    settings = {"source": path, **({} if tolerate is None else {"tolerate": tolerate})}
    if not is_refused:
        assert load(**settings).left_out[0].rows == 25
        return
    with pytest.raises(DataError) as caught:
        load(**settings)
    heading, *listed, more = str(caught.value).splitlines()
    assert heading.startswith(f"{path}: 25 of 500 rows cannot be used")
    assert listed == [
        f"{path}:{number}: 1 fields where the header has 2; put quotes around a text that contains the delimiter"
        for number in range(477, 497)
    ]
    assert more == "and 5 more"


def test_rows_that_cannot_be_read_and_rows_that_are_no_example_count_together(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"text,label\n{lines(98)}one\ntwo,\n")
    with pytest.raises(
        DataError, match=r"2 of 100 rows cannot be used.*\n.*a.csv:100: 1 fields.*\n.*a.csv:101: .*no label"
    ):
        load(source=path)


def test_a_bad_sentence_of_many_is_left_out(tmp_path: Path) -> None:
    rows = [{"tokens": ["Anna", f"x{i}"], "tags": ["B-PER", "O"]} for i in range(200)]
    rows[7] = {"tokens": ["Anna"], "tags": ["B-PER", "O"]}
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    data = load(TokenClassification, source=path)
    assert len(everything(data)) == 199
    assert data.left_out[0].details == [
        f"{path}:8: 1 words in the column 'tokens' and 2 tags in 'tags'; give each word one tag"
    ]


def test_a_broken_sentence_of_a_conll_file_is_left_out(tmp_path: Path) -> None:
    sentences = [f"Anna\tB-PER\nx{i}\tO\n" for i in range(150)]
    sentences[7] = "Anna\tB-PER\nlost\n"
    path = write(tmp_path / "a.conll", "\n".join(sentences))
    data = load(TokenClassification, source=path)
    assert len(everything(data)) == 149
    assert data.left_out[0].details[0].startswith(f"{path}:23: the word 'lost' has no tag")


@pytest.mark.parametrize("value", ["100%", 1, "much", -0.1, None])
def test_a_tolerance_that_is_no_share_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"write one (such )?as|must be finite and not negative"):
        DataSettings(source="a.csv", tolerate=value)


def test_a_hyphen_among_other_labels_is_no_label(tmp_path: Path) -> None:
    head, row = "sentence1\tsentence2\tlabel\n", "text {0}\tother {0}\t{1}\n"
    rows = "".join(row.format(i, ("entailment", "neutral")[i % 2]) for i in range(40)) + row.format(40, "-")
    data = load(SentencePair, source=write(tmp_path / "a.tsv", head + rows))
    assert data.labels == ("entailment", "neutral")
    assert [(item.reason, item.rows) for item in data.left_out] == [("no label", 1)]
    assert data.warnings == (
        f"left out 1 of 41 rows without a label in the column 'label', the first at {tmp_path}/a.tsv:42",
    )


def test_a_hyphen_beside_a_plus_is_a_class(tmp_path: Path) -> None:
    labels = ("+",) * 15 + ("-",)
    assert load(source=write(tmp_path / "a.csv", f"text,label\n{lines(160, labels=labels)}")).labels == ("+", "-")
