from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from autoopt.objectives.file_formats import read
from autoopt.strategies.errors import DataError


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


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
            r"a.parquet.gz: .parquet is compressed itself .* unpack the file",
        ),
        ("a.xlsx.gz", gzip.compress(b"PK", mtime=0), r"a.xlsx.gz has an unsupported format"),
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
    monkeypatch.setattr("autoopt.objectives.tables.gzip_file.MAX_FILE_BYTES", 30)
    with pytest.raises(DataError, match=r"a.csv.gz unpacks to more than 30 bytes, the maximum: take a sample"):
        read(write(tmp_path / "a.csv.gz", gzip.compress(b"text,label\n" + b"some text,a\n" * 3)))
