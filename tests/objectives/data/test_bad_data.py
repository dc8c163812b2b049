"""Data that cannot be used: the error names the place and the remedy, and comes at once."""

# ruff: noqa: E501 - in a table of cases each case is a line

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.errors import DataError

GOOD = "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(40))

FILES: dict[str, tuple[str, str | bytes, str]] = {
    "an empty file": ("a.csv", b"", r"a.csv is empty; it must hold a header and at least one row"),
    "a header only": ("a.csv", "text,label\n", r"a.csv has a header and no rows; it needs at least one row"),
    "blank lines only": ("a.csv", "\n\n", r"a.csv:1: the first line is empty; it must name the columns"),
    "latin-1": ("a.csv", f"text,label\n{GOOD}caf\xe9,a\n".encode("latin-1"), r"a.csv:42: byte \d+ \(0xe9\) is not UTF-8; save"),
    "utf-16": ("a.csv", f"text,label\n{GOOD}".encode("utf-16"), r"a.csv:1: byte 0 begins a UTF-16 file; save it as UTF-8"),
    "utf-16 without mark": ("a.csv", f"text,label\n{GOOD}".encode("utf-16-le"), r"a.csv:1: byte 1 is NUL; .*save it as UTF-8"),
    "a NUL byte": ("a.csv", f"text,label\n{GOOD}x\0y,a\n", r"a.csv:42: byte \d+ is NUL; this is no text file"),
    "too many fields": ("a.csv", f"text,label\n{GOOD}one, two,a\n", r"a.csv:42: 3 fields where the header has 2; put quotes"),
    "too few fields": ("a.csv", f"text,label\n{GOOD}one\n", r"a.csv:42: 1 fields where the header has 2"),
    "a ragged tsv": ("a.tsv", "text\tlabel\none\ttwo\ta\n", r"a.tsv:2: 3 fields where the header has 2"),
    "a quote that nobody closes": ("a.csv", f'text,label\n"one,a\n{GOOD}', r"a.csv:2: unexpected end of data .*close the quote"),
    "text behind a quote": ("a.csv", f'text,label\n{GOOD}"one" two,a\n', r"a.csv:42: .*expected after.*double a quote"),
    "one endless line": ("a.csv", "text,label\n" + "x" * 1_000_001, r"a.csv:2: the line is longer than 1,000,000 bytes"),
    "semicolons": ("a.csv", GOOD.replace(",", ";").replace("text 0", "text"), r"a.csv:1: the columns are separated by ';'"),
    "a column twice": ("a.csv", "text,label,text\na,b,c\n", r"a.csv:1: the header has the column 'text' more than once"),
    "no column of texts": ("a.csv", f"words,label\n{GOOD}", r"no column that is known to hold texts; its columns are 'words', 'label'; name one"),
    "no column of labels": ("a.csv", f"text,mood\n{GOOD}", r"no column that is known to hold labels; its columns are 'text', 'mood'; name one"),
    "one class only": ("a.csv", "text,label\n" + "".join(f"t {i},a\n" for i in range(9)), r"a.csv \(.*labels from 'label'\) has one class only \('a' in all 9 rows\)"),
    "no label in some rows": ("a.csv", f"text,label\n{GOOD}one,\ntwo,NaN\n", r"a.csv: 2 of 42 rows cannot be used, and data.tolerate leaves out 1% at most:\n.*a.csv:42: the column 'label' has no label; fill it in.*\n.*a.csv:43: "),
    "labels that are numbers": (
        "a.jsonl",
        "".join(f'{{"text": "t {i}", "label": {i}.25}}\n' for i in range(9)),
        r"a.jsonl:1: the column 'label' holds 0.25, a number and no class; choose the column",
    ),
    "labels that are texts": (
        "a.csv",
        "text,label\n" + "".join(f"t {i},c {i}\n" for i in range(40)),
        r"labels from 'label'\) has 40 different labels in 40 rows, which does not look like classes",
    ),
    "a class with one example": ("a.csv", f"text,label\n{GOOD}one,c\n", r"1 example of the class 'c', too few for .*; add examples, or write 'rare: drop' under data"),
    "mostly blank texts": ("a.csv", "text,label\n" + " ,a\n" * 50 + GOOD, r"a.csv:2: the column 'text' is blank in 50 of 90 rows"),
    "a line that is no JSON": ("a.jsonl", '{"text": "a", "label": 1}\n{"text": \n', r"a.jsonl:2: no JSON at character \d+: .*; each line must be one JSON object"),
    "a JSON array": ("a.jsonl", "[1, 2]\n", r"a.jsonl:1: a JSON list where an object is needed"),
    "a key twice": ("a.jsonl", '{"text": "a", "text": "b", "label": 1}\n', r"a.jsonl:1: .*the key 'text' occurs twice"),
    "JSON nested without end": ("a.jsonl", '{"text": ' + "[" * 100_000 + "\n", r"a.jsonl:1: this JSON cannot be read: .*flat JSON object"),
    "half a character": ("a.jsonl", '{"text": "a\\ud800", "label": 1}\n', r"a.jsonl:1: .*half of a character at place 2: the lone surrogate \\ud800; remove it"),
    "a list for a label": ("a.jsonl", '{"text": "a", "label": null}\n{"text": "a", "label": 1}\n', r"a.jsonl:1: the column 'label' has no label; fill it in.*\(1 of 2 rows, and data.tolerate leaves"),
    "a label over two lines": ("a.csv", f'text,label\n{GOOD}one,"a\nb"\n', r"a.csv:42: the label 'a\\nb' in the column 'label' holds a control character"),
    "an escape sequence for a label": ("a.csv", f"text,label\n{GOOD}one,\x1b[31mred\n", r"a.csv:42: the label '\\x1b\[31mred' .* holds a control character"),
    "a number for a text": ("a.jsonl", '{"text": 5, "label": "a"}\n', r"a.jsonl:1: the column 'text' holds 5 \(int\), no text; choose"),
    "no parquet": ("a.parquet", b"PAR1 but no more", r"a.parquet cannot be read as parquet: .*; write it again, or give csv"),
    "a spreadsheet": ("a.xlsx", b"PK\x03\x04", r"a.xlsx has an unsupported format; convert it to one of .arrow, .bio"),
    "a pickle": ("a.pkl", b"\x80\x04.", r"a.pkl has an unsupported format"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=message) as caught:
        load_text_data(DataSettings(source=str(path)), TextClassification)
    assert all(str(path) in line for line in str(caught.value).splitlines())


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a missing file": ({"source": "god.csv"}, r"there is no god.csv in .*; did you mean 'good.csv'\?; it holds copy.csv, good.csv"),
    "a missing folder": ({"source": "nowhere/good.csv"}, r"there is no folder .*nowhere; write the path of the data"),
    "an unknown column of texts": ({"text": "txt"}, r"no column 'txt', which data.text names; did you mean 'text'\?; its columns are 'text', 'label'"),
    "an unknown column of pairs": ({"text_pair": "b"}, r"no column 'b', which data.text_pair names; its columns are"),
    "an unknown column of labels": ({"label": "lable"}, r"no column 'lable', which data.label names; did you mean 'label'\?"),
    "more than there is": ({"split": {"train": 30, "validation": 10, "test": 10}}, r"40 usable examples, and the split asks for .* = 50; lower the numbers"),
    "a split smaller than the classes": ({"split": {"test": 1}}, r"the test split of 1 cannot hold one example of each; raise data.split.test to 2"),
    "a test class that training lacks": (
        {"source": None, "train": "good.csv", "test": "other.csv"},
        r"other.csv:3: the class 'bb' \(1 rows of test\) does not occur in the training data of .*good.csv; did you mean 'b'\?; add training",
    ),
    "a validation file of held-out texts": (
        {"source": None, "train": "good.csv", "validation": "copy.csv", "test": "copy.csv"},
        r"the validation data has no usable rows",
    ),
    "unlabeled data without texts": ({"unlabeled": "numbers.csv"}, r"numbers.csv has no column that is known to hold texts"),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_do_not_fit_the_data_are_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    files = {
        "good.csv": f"text,label\n{GOOD}",
        "other.csv": "text,label\none,a\ntwo,bb\n",
        "copy.csv": "text,label\nsame,a\nelse,b\n",
        "numbers.csv": "x,y\n1,2\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    paths = {
        key: str(tmp_path / value) if key in ("source", "train", "validation", "test", "unlabeled") and value else value
        for key, value in {"source": "good.csv", **settings}.items()
    }
    with pytest.raises(DataError, match=message):
        load_text_data(DataSettings.model_validate(paths), TextClassification)


def _no_classes(folder: Path) -> None:
    (folder / "dev.csv").write_text("text,label\n", encoding="utf-8")


def _an_empty_split(folder: Path) -> None:
    (folder / "train.csv").write_text("text,label\n", encoding="utf-8")


def _two_for_one(folder: Path) -> None:
    for name in ("train.csv", "train.jsonl"):
        (folder / name).write_text("text,label\n", encoding="utf-8")


def _empty_class(folder: Path) -> None:
    (folder / "sports").mkdir()


def _a_way_out(folder: Path) -> None:
    (folder.parent / "secret.txt").write_text("secret", encoding="utf-8")
    (folder / "sports").mkdir()
    (folder / "sports" / "1.txt").symlink_to(folder.parent / "secret.txt")


def _one_class(folder: Path) -> None:
    (folder / "sports").mkdir()
    (folder / "sports" / "1.txt").write_text("goal", encoding="utf-8")


def _a_huge_text(folder: Path) -> None:
    (folder / "sports").mkdir()
    (folder / "sports" / "1.txt").write_text("x" * 1_000_001, encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, r"holds nothing, and no data that can be read; a folder of data holds"),
        (_no_classes, r"holds dev.csv.*, and no data that can be read; a folder of data .*such as train.csv"),
        (_an_empty_split, r"train.csv has a header and no rows"),
        (_two_for_one, r"has train.csv and train.jsonl, which would both be the train data; keep one"),
        (
            _empty_class,
            r"sports holds nothing, and no .txt files, one for each text of the class 'sports'; a folder of data",
        ),
        (_a_way_out, r"sports/1.txt is a link that leads out of .*; put the file itself there"),
        (_one_class, r"has one class only \('sports' in all 1 rows\)"),
        (_a_huge_text, r"1.txt is longer than 1,000,000 bytes; one file is one text here"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder)
    with pytest.raises(DataError, match=message):
        load_text_data(DataSettings(source=str(folder)), TextClassification)


def test_a_huge_field_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.write(b"text,label\n")
        file.truncate(200_000_000)  # A hole of zeros: large to read, small on the disk.
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a.csv:2: the line is longer than 1,000,000 bytes"):
        load_text_data(DataSettings(source=str(path)), TextClassification)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()
