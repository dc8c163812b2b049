from __future__ import annotations

import csv
import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.objectives.data.split_folder import read_splits
from autoopt.objectives.file_formats.conll import read_conll
from autoopt.objectives.file_formats.readers import ARROW, READERS, read
from autoopt.objectives.file_formats.table import Table
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


RECORDS = [{"text": "hi", "label": 1}, {"text": "you\nthere", "label": None, "meta": {"a": [1]}}]


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


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize(("name", "stream"), [("a.arrow", False), ("a.arrow", True), ("a.feather", False)])
def test_arrow_is_read_as_a_file_and_as_a_stream(
    tmp_path: Path, name: str, stream: bool, compression: str | None
) -> None:
    import pyarrow

    table = pyarrow.table({"text": ["hi", None, "you"], "label": [0, 1, 0], "tokens": [["h"], [], ["y", "o"]]})
    write_to = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    options = pyarrow.ipc.IpcWriteOptions(compression=compression)
    with write_to(str(tmp_path / name), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=2)
    found = read(tmp_path / name)
    assert found.columns == ("text", "label", "tokens")
    assert found.rows == [["hi", 0, ["h"]], [None, 1, []], ["you", 0, ["y", "o"]]]
    assert found.places[2].endswith(f"{name}: row 3")


def test_an_arrow_file_that_points_outside_itself_is_refused(tmp_path: Path) -> None:
    import pyarrow

    table = pyarrow.table({"tokens": [[1], [2, 3]]})
    with pyarrow.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    whole = (tmp_path / "a.arrow").read_bytes()
    ends = b"\0\0\0\0\1\0\0\0\3\0\0\0"  # Where the lists begin in their three numbers.
    assert whole.count(ends) == 1
    write(tmp_path / "a.arrow", whole.replace(ends, ends[:-4] + b"\xff\0\0\0"))
    with pytest.raises(DataError, match=r"a.arrow cannot be read as Arrow: .*; write it again"):
        read(tmp_path / "a.arrow")


TEXT_FILES = {
    ".csv": "text,label\n\nhi,a\n",
    ".tsv": "text\tlabel\n\nhi\ta\n",
    ".jsonl": '\n\n{"text": "hi", "label": "a"}\n',
    ".ndjson": '\n\n{"text": "hi", "label": "a"}\n',
    ".json": '[\n\n{"text": "hi", "label": "a"}]\n',
    ".txt": "\n\nhi\n",
}
CONLL = "\n\nhi\tO\n"


@pytest.mark.parametrize("suffix", sorted(set(READERS) - ARROW))
def test_every_format_of_text_is_read_out_of_gzip_with_its_lines(tmp_path: Path, suffix: str) -> None:
    content = CONLL if READERS[suffix] is read_conll else TEXT_FILES[suffix]
    plain = read(write(tmp_path / f"a{suffix}", content))
    packed = read(write(tmp_path / f"a{suffix.upper()}.gz", gzip.compress(content.encode())))
    assert (packed.columns, packed.rows) == (plain.columns, plain.rows)
    assert plain.places[-1] == f"{tmp_path}/a{suffix}:3"
    assert packed.places[-1] == f"{tmp_path}/a{suffix.upper()}.gz:3"


def test_gzip_in_several_pieces_is_read_whole(tmp_path: Path) -> None:
    pieces = gzip.compress(b"text,label\nhi,a\n") + gzip.compress(b"you,b\n")
    assert read(write(tmp_path / "a.csv.gz", pieces)).rows == [["hi", "a"], ["you", "b"]]


PACKED = gzip.compress(b"text,label\n" + b"".join(b"text %d,a\n" % number for number in range(5000)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv.gz", PACKED[:-20], r"a.csv.gz:\d+: the gzip file is cut short or damaged here, after \d.*copy it"),
        ("a.csv.gz", PACKED[:9000] + b"\xff" * 50 + PACKED[9050:], r"a.csv.gz:\d+: the gzip file is cut short or da"),
        ("a.csv.gz", PACKED[:10] + b"\xff" * 50 + PACKED[60:], r"a.csv.gz:1: the gzip file is cut short or damaged"),
        ("a.csv.gz", PACKED + b"more", r"a.csv.gz:5002: the gzip file is cut short or damaged here"),
        ("a.csv.gz", b"text,label\n", r"a.csv.gz: byte 0 begins no gzip file; remove .gz from its name"),
        ("a.csv.gz", b"", r"a.csv.gz is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), r"a.csv.gz is empty"),
        ("a.txt.gz", gzip.compress(b"", mtime=0), r"a.txt.gz is empty"),
        ("a.csv", PACKED, r"a.csv:1: byte 0 begins a file packed with gzip; let its name end in .gz"),
        (
            "a.csv.gz",
            gzip.compress(b"x" * 20_000_000, mtime=0),
            r"a.csv.gz unpacks to more than 200 times its size, as no text",
        ),
        (
            "a.jsonl.gz",
            gzip.compress(b"{}\n" * 5_000_000, mtime=0),
            r"a.jsonl.gz unpacks to more than 200 times its size",
        ),
        (
            "a.parquet.gz",
            gzip.compress(b"PAR1", mtime=0),
            r"a.parquet.gz: .parquet packs its columns itself .* unpack the file",
        ),
        ("a.xlsx.gz", gzip.compress(b"PK", mtime=0), r"a.xlsx.gz is of no kind that can be read"),
    ],
)
def test_a_packed_file_that_cannot_be_used_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / name, content))


def test_what_is_packed_to_fill_the_memory_does_not_fill_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv.gz", gzip.compress(b"text,label\n" + b"a,b\n" * 10_000_000))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a.csv.gz unpacks to more than 200 times its size"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_what_unpacks_to_more_than_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoopt.objectives.file_formats.gzipped.MAX_FILE_BYTES", 30)
    with pytest.raises(DataError, match=r"a.csv.gz unpacks to more than 30 bytes, the most that are read: take a"):
        read(write(tmp_path / "a.csv.gz", gzip.compress(b"text,label\n" + b"some text,a\n" * 3)))


def test_a_folder_with_a_file_for_each_split_has_its_parts(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    def shard(name: str, texts: list[str]) -> None:
        pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": ["a"] * len(texts)}), tmp_path / name)

    shard("train-00000-of-00002.parquet", ["one"])
    shard("train-00001-of-00002.parquet", ["two", "three"])
    write(tmp_path / "dev.jsonl.gz", gzip.compress(b'{"text": "four", "label": "b"}'))
    write(tmp_path / "Test.csv", "text,label\nfive,b\n")
    write(tmp_path / "README.md", "none of it")
    write(tmp_path / "all.csv", "none of it")
    found = read_splits(tmp_path)
    assert {part: [row[0] for row in table.rows] for part, table in found.items()} == {
        "train": ["one", "two", "three"],
        "validation": ["four"],
        "test": ["five"],
    }
    assert found["train"].places[2].endswith("train-00001-of-00002.parquet: row 2")
    assert found["train"].notes == (
        f"of {tmp_path} were read train-00000-of-00002.parquet, train-00001-of-00002.parquet, dev.jsonl.gz, Test.csv",
    )


def test_parts_of_a_split_need_the_same_columns_and_a_folder_without_training_data_is_none(tmp_path: Path) -> None:
    write(tmp_path / "train-0-of-2.csv", "text,label\none,a\n")
    write(tmp_path / "train-1-of-2.csv", "text,mood\ntwo,a\n")
    with pytest.raises(DataError, match=r"train-1-of-2.csv has the columns text, mood, and .* has text, label; parts"):
        read_splits(tmp_path)
    empty: dict[str, Table] = {}
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "test.csv", "text,label\nfive,b\n")
    assert read_splits(tmp_path / "other") == empty


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
