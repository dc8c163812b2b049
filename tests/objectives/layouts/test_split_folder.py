from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from autoopt.objectives.layouts.folder import layout_of
from autoopt.objectives.layouts.split_folder import split_files
from autoopt.strategies.errors import DataError


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


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
    tables = layout_of(tmp_path).tables(part="train", whole=True)
    assert {part: [row[0] for row in table.rows] for part, table in tables.items()} == {
        "train": ["one", "two", "three"],
        "validation": ["four"],
        "test": ["five"],
    }
    assert tables["train"].places[2].endswith("train-00001-of-00002.parquet: row 2")
    assert tables["train"].notes == (
        f"of {tmp_path} were read train-00000-of-00002.parquet, train-00001-of-00002.parquet, dev.jsonl.gz, Test.csv",
    )


def test_parts_of_a_split_need_the_same_columns_and_a_folder_without_training_data_is_none(tmp_path: Path) -> None:
    write(tmp_path / "train-0-of-2.csv", "text,label\none,a\n")
    write(tmp_path / "train-1-of-2.csv", "text,mood\ntwo,a\n")
    with pytest.raises(DataError, match=r"train-1-of-2.csv has the columns text, mood, and .* has text, label; parts"):
        layout_of(tmp_path).tables(part="train", whole=True)
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "test.csv", "text,label\nfive,b\n")
    assert split_files(tmp_path / "other") is None
