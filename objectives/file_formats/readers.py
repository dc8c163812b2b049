"""Which reader reads a file or a folder: by the suffix of its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from autoopt.objectives.file_formats.arrow_file import read_arrow, read_parquet
from autoopt.objectives.file_formats.class_folders import read_class_folders
from autoopt.objectives.file_formats.conll import read_conll
from autoopt.objectives.file_formats.csv_file import read_csv
from autoopt.objectives.file_formats.gzipped import SUFFIX, format_of
from autoopt.objectives.file_formats.json_file import read_json, read_json_lines
from autoopt.objectives.file_formats.table import TEXT_COLUMN, Table
from autoopt.objectives.file_formats.text_lines import lines
from autoopt.strategies.errors import DataError


def read(path: Path) -> Table:
    """Read a file by its suffix, or a folder of class folders. Raises ``DataError``."""
    try:
        table = read_class_folders(path) if path.is_dir() else _reader(path)(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check its owner and its disk") from None
    if not table.rows:
        raise DataError(f"{path} has a header and no rows; it needs at least one row for each class")
    return table


def _reader(path: Path) -> Callable[[Path], Table]:
    kind = format_of(path)
    if kind not in READERS or not path.is_file():
        raise DataError(f"{path} is of no kind that can be read; convert it to one of {', '.join(READERS)}")
    if kind in ARROW and path.suffix.lower() == SUFFIX:
        raise DataError(f"{path}: {kind} packs its columns itself and is not read out of {SUFFIX}; unpack the file")
    return READERS[kind]


def _read_plain_lines(path: Path) -> Table:
    """Every line as it stands, with its line end, which tells a line of a text from a whole text."""
    read = [
        (number, line.rstrip("\r\n") + "\n" if line.endswith(("\n", "\r")) else line) for number, line in lines(path)
    ]
    kept = read if any(line.strip() for _, line in read) else []
    return Table(str(path), (TEXT_COLUMN,), [[line] for _, line in kept], [f"{path}:{number}" for number, _ in kept])


ARROW = frozenset({".parquet", ".arrow", ".feather"})
"""The formats that are no text."""
READERS: Mapping[str, Callable[[Path], Table]] = MappingProxyType(
    {
        ".csv": read_csv,
        ".tsv": read_csv,
        ".jsonl": read_json_lines,
        ".ndjson": read_json_lines,
        ".json": read_json,
        ".parquet": read_parquet,
        ".arrow": read_arrow,
        ".feather": read_arrow,
        ".txt": _read_plain_lines,
        **dict.fromkeys((".conll", ".conll03", ".bio", ".iob", ".iob2"), read_conll),
    }
)
"""By the suffix of the file's name. Each of text reads its file through ``text_lines``, packed with gzip or not."""


def is_data_file(name: str) -> bool:
    """True for a name that can only mean a file."""
    return format_of(Path(name)) in {*READERS, ".xlsx"} or Path(name).suffix.lower() in {".zip", SUFFIX}
