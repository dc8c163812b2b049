from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autoopt.objectives.file_formats import read

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


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=10))
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["text", "label"], *rows])
    filled = [row for row in rows if any(map(str.strip, row))]
    assume(filled)
    assert read(path).rows == filled
