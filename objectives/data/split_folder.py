"""A folder with a file for each split: ``train.jsonl``, ``validation.jsonl``, ``test.jsonl``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from autoopt.objectives.file_formats.readers import is_data_file, read
from autoopt.objectives.file_formats.table import Table
from autoopt.strategies.errors import DataError

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
)
"""What the splits are called elsewhere, the likeliest name first."""
_NAME = re.compile(r"(?P<split>[A-Za-z]+)(?P<shard>-\d+-of-\d+)?\..+")


def read_splits(folder: Path) -> dict[str, Table]:
    """Return the tables by part; empty where ``folder`` has no file for training and means something else.

    A split may be in several files, as on the Hub: ``train-00000-of-00002.parquet``. Raises ``DataError``.
    """
    files = _files(folder)
    if "train" not in files:
        return {}
    found = {part: _joined([read(file) for file in files[part]]) for part in PARTS if part in files}
    named = ", ".join(file.name for part in found for file in files[part])
    train = found["train"]
    note = f"of {folder} were read {named}"
    return {**found, "train": Table(train.source, train.columns, train.rows, train.places, (*train.notes, note))}


def _files(folder: Path) -> dict[str, list[Path]]:
    by_split: dict[str, list[Path]] = defaultdict(list)
    sharded = False
    for file in sorted(folder.iterdir()):
        name = _NAME.fullmatch(file.name)
        if name and file.is_file() and is_data_file(file.name):
            by_split[name["split"].lower()].append(file)
            sharded = sharded or name["shard"] is not None
    found = {}
    for part, names in PARTS.items():
        files = [file for name in names for file in by_split.get(name, ())]
        if len(files) > 1 and not sharded:
            listed = " and ".join(file.name for file in files)
            raise DataError(f"{folder} has {listed}, which would both be the {part} data; keep one, or name the files")
        if files:
            found[part] = files
    return found


def _joined(tables: Sequence[Table]) -> Table:
    first = tables[0]
    for other in tables[1:]:
        if other.columns != first.columns:
            raise DataError(
                f"{other.source} has the columns {', '.join(other.columns)}, and {first.source} has "
                f"{', '.join(first.columns)}; parts of one split need the same"
            )
    return Table(
        first.source,
        first.columns,
        [row for table in tables for row in table.rows],
        [place for table in tables for place in table.places],
        tuple(note for table in tables for note in table.notes),
    )
