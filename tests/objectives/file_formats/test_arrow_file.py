from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.objectives.file_formats import read
from autoopt.strategies.errors import DataError


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_parquet_is_read_with_its_nested_columns(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {"text": ["hi", None], "label": [0, 1], "tokens": [["h"], ["i"]]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert table.columns == ("text", "label", "tokens")
    assert table.rows == [["hi", 0, ["h"]], [None, 1, ["i"]]]
    assert table.places[1].endswith("a.parquet: row 2")


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize(("name", "stream"), [("a.arrow", False), ("a.arrow", True), ("a.feather", False)])
def test_arrow_is_read_as_a_file_and_as_a_stream(
    tmp_path: Path, name: str, stream: bool, compression: str | None
) -> None:
    import pyarrow

    written = pyarrow.table({"text": ["hi", None, "you"], "label": [0, 1, 0], "tokens": [["h"], [], ["y", "o"]]})
    write_to = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    options = pyarrow.ipc.IpcWriteOptions(compression=compression)
    with write_to(str(tmp_path / name), written.schema, options=options) as writer:
        writer.write_table(written, max_chunksize=2)
    table = read(tmp_path / name)
    assert table.columns == ("text", "label", "tokens")
    assert table.rows == [["hi", 0, ["h"]], [None, 1, []], ["you", 0, ["y", "o"]]]
    assert table.places[2].endswith(f"{name}: row 3")


def test_an_arrow_file_that_points_outside_itself_is_refused(tmp_path: Path) -> None:
    import pyarrow

    table = pyarrow.table({"tokens": [[1], [2, 3]]})
    with pyarrow.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    content = (tmp_path / "a.arrow").read_bytes()
    ends = b"\0\0\0\0\1\0\0\0\3\0\0\0"  # Where the lists begin in their three numbers.
    assert content.count(ends) == 1
    write(tmp_path / "a.arrow", content.replace(ends, ends[:-4] + b"\xff\0\0\0"))
    with pytest.raises(DataError, match=r"a.arrow cannot be read as Arrow: .*; write it again"):
        read(tmp_path / "a.arrow")
