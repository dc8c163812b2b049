from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.objectives.layouts.class_folders import read_class_folders
from autoopt.strategies.errors import DataError


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_folder_of_class_folders_is_read_in_order_and_hidden_files_are_not(tmp_path: Path) -> None:
    for name, text in (("b/2.txt", "two"), ("a/1.txt", "one"), ("a/.x.txt", "no"), (".git/c.txt", "no")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, text)
    assert read_class_folders(tmp_path).rows == [["one", "a"], ["two", "b"]]


def test_of_many_files_one_that_is_no_utf8_is_left_out_with_a_note(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(100):
            write(tmp_path / name / f"{number}.txt", f"text {name} {number}")
    write(tmp_path / "b" / "7.txt", "price\n5 \xa3".encode("latin-1"))
    table = read_class_folders(tmp_path)
    assert len(table.rows) == 199
    assert table.notes == (
        f"left out 1 of 200 files: {tmp_path}/b/7.txt:2: byte 8 (0xa3) is not UTF-8; save the file as UTF-8",
    )
    for number in range(3):
        write(tmp_path / "a" / f"{number}.txt", b"\xff\xff")
    with pytest.raises(DataError, match=r"0.txt:1: byte 0 .*\(4 of 200 files are like this\)"):
        read_class_folders(tmp_path)
