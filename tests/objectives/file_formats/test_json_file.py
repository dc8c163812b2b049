from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.file_formats import read
from autoopt.strategies.errors import DataError

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


RECORDS = [{"text": "hi", "label": 1}, {"text": "you\nthere", "label": None, "meta": {"a": [1]}}]


def test_json_lines_fill_in_what_a_line_does_not_have(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.jsonl", '{"text": "hi", "label": 1}\n\n{"label": null, "meta": {"a": [1]}}\n'))
    assert table.columns == ("text", "label", "meta")
    assert table.rows == [["hi", 1, None], [None, None, {"a": [1]}]]
    assert table.places[1].endswith("a.jsonl:3")


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (json.dumps(RECORDS), (1, 1)),
        (json.dumps(RECORDS, indent=1), (2, 6)),
        ("\ufeff\n" + json.dumps({"version": 2, "data": RECORDS}), (2, 2)),
        ('{\n"data":\n[\n' + ",\r\n".join(map(json.dumps, RECORDS)) + '\n], "x": [1]}\n', (4, 5)),
        ("\n".join(map(json.dumps, RECORDS)), (1, 2)),
    ],
)
def test_a_json_document_has_its_records_in_a_list_or_under_data_or_on_lines(
    tmp_path: Path, content: str, lines: tuple[int, int]
) -> None:
    table = read(write(tmp_path / "a.json", content))
    assert table.columns == ("text", "label", "meta")
    assert table.rows == [["hi", 1, None], ["you\nthere", None, {"a": [1]}]]
    assert table.places == [f"{tmp_path}/a.json:{line}" for line in lines]


def test_a_json_document_of_squad_is_read_as_questions(tmp_path: Path) -> None:
    question = {"id": "q", "question": "where?", "answers": [{"text": "here", "answer_start": 0}]}
    article = {"title": "t", "paragraphs": [{"context": "here", "qas": [question]}]}
    table = read(write(tmp_path / "a.json", json.dumps({"version": "1.1", "data": [article]})))
    assert dict(zip(table.columns, table.rows[0], strict=True))["question"] == "where?"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a.json is empty"),
        (" \n", r"a.json is empty; the file must be a list"),
        (
            "text,label",
            r"a.json:1: no JSON: '\{' is expected where 't' stands; the file must be a list of flat objects",
        ),
        ("[\n{},\n{,\n]", r"a.json:3: no JSON at character 2: .*the file must be a list"),
        ("[{}\n{}]", r"a.json:2: no JSON: ',' is expected where '\{' stands"),
        ("[{}]\n[{}]", r"a.json:2: there is more after the end of the document; keep one list"),
        ('{"data": [{}]} 5', r"a.json:1: there is more after the end"),
        ("[{},\n5]", r"a.json:2: a JSON int where an object is needed"),
        ('[{},\n{"a": 1, "a": 2}]', r"a.json:2: the JSON that begins here cannot be read: the key 'a' occurs twice"),
        ('{"data": [],\n"data": []}', r"a.json:2: the key 'data' occurs twice; keep one"),
        ('{"text": 1, "label": 2}', r"a.json:1: a JSON object that has 'text', 'label' and no list 'data'; the file"),
        ("{}", r"a.json:1: a JSON object that has nothing and no list 'data'"),
        ("{1: 2}", r"a.json:1: a key in quotes is expected"),
        ('{"a": 1', r"a.json:1: no JSON: ',' is expected where the end of the file stands"),
        ("[" + "[" * 100_000, r"a.json:1: the JSON that begins here cannot be read: .*recursion"),
        ("[1" + "0" * 5000 + "]", r"a.json:1: the JSON that begins here cannot be read: .*digits"),
        ('{"text": "a"}\n{"text": ', r"a.json:2: no JSON at character \d+: .*each line must be one JSON object"),
        ("[]", r"a.json has a header and no rows"),
    ],
)
def test_a_json_document_that_cannot_be_used_is_refused_with_its_line(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "a.json", content))


@given(st.lists(st.tuples(CELLS, st.integers()), min_size=1), st.sampled_from([None, 0, 3]))
def test_a_json_document_is_read_as_the_json_module_reads_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    records = [{"text": text, "n": number} for text, number in rows]
    path.write_text(json.dumps(records, indent=indent, ensure_ascii=False), encoding="utf-8", newline="")
    assert read(path).rows == [[text, number] for text, number in rows]


@given(st.lists(st.fixed_dictionaries({"text": CELLS, "label": CELLS | st.integers() | st.booleans()}), min_size=1))
def test_what_json_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, str]]) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    table = read(path)
    assert [dict(zip(table.columns, row, strict=True)) for row in table.rows] == records
