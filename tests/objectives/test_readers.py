from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.readers import read
from autoopt.strategies.errors import DataError

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"text,label\nhello,a\n\nworld,b\n",
        b"\xef\xbb\xbftext,label\r\nhello,a\r\n\r\nworld,b",
        b"text,label\rhello,a\r\rworld,b\r",
        b'text,label\nhello,a\n\n"world",b\n',
    ],
)
def test_csv_is_read_with_any_line_end_and_with_a_byte_order_mark(tmp_path: Path, content: bytes) -> None:
    table = read(write(tmp_path / "a.csv", content))
    assert table.columns == ("text", "label")
    assert table.rows == [["hello", "a"], ["world", "b"]]
    assert table.places == [f"{tmp_path}/a.csv:2", f"{tmp_path}/a.csv:4"]


def test_a_record_over_several_lines_stands_where_it_begins(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.csv", 'text,label\n"one\ntwo",a\nthree,b\n'))
    assert [place.rpartition(":")[2] for place in table.places] == ["2", "4"]
    assert table.rows[0] == ["one\ntwo", "a"]


def test_a_field_longer_than_the_csv_module_likes_is_read_and_its_limit_is_put_back(tmp_path: Path) -> None:
    usual = 131_072
    before = csv.field_size_limit(usual)
    table = read(write(tmp_path / "a.csv", f"text,label\n{'x' * 200_000},a\n"))
    assert len(str(table.rows[0][0])) == 200_000
    assert csv.field_size_limit(before) == usual


def test_tsv_takes_quotes_as_they_are_and_undoes_those_of_a_spreadsheet(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.tsv", 'text\tlabel\n"Oh, he said\ta\n"say ""yes"""\tb\n5" disk\ta\n'))
    assert [row[0] for row in table.rows] == ['"Oh, he said', 'say "yes"', '5" disk']


def test_json_lines_fill_in_what_a_line_does_not_have(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.jsonl", '{"text": "hi", "label": 1}\n\n{"label": null, "meta": {"a": [1]}}\n'))
    assert table.columns == ("text", "label", "meta")
    assert table.rows == [["hi", 1, None], [None, None, {"a": [1]}]]
    assert table.places[1].endswith("a.jsonl:3")


def test_parquet_is_read_with_its_nested_columns(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {"text": ["hi", None], "label": [0, 1], "tokens": [["h"], ["i"]]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert table.columns == ("text", "label", "tokens")
    assert table.rows == [["hi", 0, ["h"]], [None, 1, ["i"]]]
    assert table.places[1].endswith("a.parquet: row 2")


def test_a_folder_of_class_folders_is_read_in_order_and_hidden_files_are_not(tmp_path: Path) -> None:
    for name, text in (("b/2.txt", "two"), ("a/1.txt", "one"), ("a/.x.txt", "no"), (".git/c.txt", "no")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, text)
    assert read(tmp_path).rows == [["one", "a"], ["two", "b"]]


def test_of_many_files_one_that_is_no_utf8_is_left_out_with_a_note(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(100):
            write(tmp_path / name / f"{number}.txt", f"text {name} {number}")
    write(tmp_path / "b" / "7.txt", "price\n5 \xa3".encode("latin-1"))
    table = read(tmp_path)
    assert len(table.rows) == 199
    assert table.notes == (
        f"left out 1 of 200 files: {tmp_path}/b/7.txt:2: byte 8 (0xa3) is not UTF-8; save the file as UTF-8",
    )
    for number in range(3):
        write(tmp_path / "a" / f"{number}.txt", b"\xff\xff")
    with pytest.raises(DataError, match=r"0.txt:1: byte 0 .*\(4 of 200 files are like this\)"):
        read(tmp_path)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=10))
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["text", "label"], *rows])
    assert read(path).rows == rows


@given(st.lists(st.fixed_dictionaries({"text": CELLS, "label": CELLS | st.integers() | st.booleans()}), min_size=1))
def test_what_json_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, str]]) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    table = read(path)
    assert [dict(zip(table.columns, row, strict=True)) for row in table.rows] == records
