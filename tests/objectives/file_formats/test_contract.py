"""What every file format promises. A new file in the folder is tested here without another edit."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from autoopt.objectives import file_formats
from autoopt.objectives.file_formats import formats, is_data_file, os_errors_reported, read, read_batches
from autoopt.strategies.errors import DataError

every_suffix = pytest.mark.parametrize("suffix", sorted(formats()))
every_text_suffix = pytest.mark.parametrize(
    "suffix", sorted(suffix for suffix, kind in formats().items() if kind.is_text)
)
every_binary_suffix = pytest.mark.parametrize(
    "suffix", sorted(suffix for suffix, kind in formats().items() if not kind.is_text)
)


def example(folder: Path, suffix: str) -> Path:
    path = folder / f"a{suffix}"
    path.write_bytes(formats()[suffix].example())
    return path


@every_suffix
def test_its_example_is_read_with_a_place_for_each_row(tmp_path: Path, suffix: str) -> None:
    path = example(tmp_path, suffix)
    table = read(path)
    assert table.source == str(path)
    assert len(table.rows) == len(table.places) >= 2
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert all(re.fullmatch(rf"{re.escape(str(path))}(:\d+|: row \d+)", place) for place in table.places)


@every_suffix
@pytest.mark.parametrize("size", [1, 2, 100])
def test_its_batches_are_its_rows_with_the_same_places(tmp_path: Path, suffix: str, size: int) -> None:
    path = example(tmp_path, suffix)
    table, batches = read(path), list(read_batches(path, size))
    assert [row for batch in batches for row in batch.rows] == list(table.rows)
    assert [place for batch in batches for place in batch.places] == list(table.places)
    assert {batch.columns for batch in batches} == {table.columns}
    assert all(0 < len(batch.rows) <= size for batch in batches)


@every_suffix
def test_its_suffix_is_told_in_any_case_and_means_a_file(tmp_path: Path, suffix: str) -> None:
    path = example(tmp_path, suffix)
    upper = path.rename(path.with_suffix(suffix.upper()))
    assert read(upper).rows == formats()[suffix].read(upper).rows
    assert is_data_file(upper.name)
    assert suffix == suffix.lower()


@every_text_suffix
def test_text_is_read_out_of_gzip_with_the_same_rows_and_lines(tmp_path: Path, suffix: str) -> None:
    table = read(example(tmp_path, suffix))
    packed = tmp_path / f"a{suffix}.gz"
    packed.write_bytes(gzip.compress(formats()[suffix].example()))
    unpacked = read(packed)
    assert (unpacked.columns, unpacked.rows) == (table.columns, table.rows)
    assert unpacked.places == [place.replace(f"a{suffix}:", f"a{suffix}.gz:") for place in table.places]


@every_binary_suffix
def test_what_is_not_text_is_not_read_out_of_gzip(tmp_path: Path, suffix: str) -> None:
    packed = tmp_path / f"a{suffix}.gz"
    packed.write_bytes(gzip.compress(formats()[suffix].example()))
    with pytest.raises(DataError, match=r"is compressed itself and is not read out of .gz; unpack the file"):
        read(packed)


@every_suffix
@pytest.mark.parametrize("damage", ["cut", "nothing", "noise", "gone"])
def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path, suffix: str, damage: str) -> None:
    path = example(tmp_path, suffix)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:5] + b"\xff\xfe\0", "nothing": b"", "noise": bytes(range(256))}[damage])
    with pytest.raises(DataError, match=re.escape(str(path))):
        read(path)
    with pytest.raises(DataError, match=re.escape(str(path))):
        list(read_batches(path, 1))


@every_text_suffix
def test_bytes_that_are_no_utf8_are_refused_with_their_line(tmp_path: Path, suffix: str) -> None:
    path = example(tmp_path, suffix)
    lines = path.read_bytes().count(b"\n")
    path.write_bytes(path.read_bytes() + b"\xe9")
    with pytest.raises(DataError, match=rf"a\{suffix}:{lines + 1}: byte \d+ \(0xe9\) is not UTF-8; save the file"):
        read(path)


@every_suffix
def test_a_pointer_of_git_lfs_is_no_data(tmp_path: Path, suffix: str) -> None:
    path = example(tmp_path, suffix)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(DataError, match=r"is a pointer of Git LFS and holds no data; run 'git lfs pull' in its folder"):
        read(path)


def test_a_format_is_one_file_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words_file.py").write_text(
        "from autoopt.objectives.file_formats import FileFormat\n"
        "from autoopt.objectives.tables.table import Table\n"
        "def read_words(path):\n"
        "    words = path.read_text('utf-8').split()\n"
        "    return Table(str(path), ('text',), [[word] for word in words], [f'{path}:1'] * len(words))\n"
        "WORDS = FileFormat(suffixes=('.words',), read=read_words, example=lambda: b'one two')\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(file_formats, "__path__", [*file_formats.__path__, str(tmp_path)])
    assert [row[0] for row in read(example(tmp_path, ".words")).rows] == ["one", "two"]
    assert is_data_file("a.words")
    assert is_data_file("a.words.gz")


def test_two_formats_with_the_same_suffix_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other_csv.py").write_text(
        "from autoopt.objectives.file_formats import FileFormat\n"
        "OTHER = FileFormat(suffixes=('.csv',), read=None, example=None)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(file_formats, "__path__", [*file_formats.__path__, str(tmp_path)])
    with pytest.raises(TypeError, match=r"other_csv defines a second format for .csv; a suffix has one format"):
        formats()


def test_an_error_of_the_system_is_reported_with_the_path() -> None:
    with (
        pytest.raises(DataError, match=r"a.csv cannot be read: Input/output error; check its owner and its disk"),
        os_errors_reported(Path("a.csv")),
    ):
        raise OSError(5, "Input/output error")
