"""A folder with a file for each split: ``train.jsonl``, ``validation.jsonl``, ``test.jsonl``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from autoopt.objectives.file_formats import is_data_file, read
from autoopt.objectives.tables.table import Table
from autoopt.strategies.errors import DataError

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
)
"""Usual names of each split, the likeliest first."""
_NAME = re.compile(r"(?P<split>[A-Za-z]+)(?P<shard>-\d+-of-\d+)?\..+")


def read_splits(folder: Path) -> dict[str, Table]:
    """Return the table of each split; empty if ``folder`` has no training file.

    A split may be in several files, as on the Hub: ``train-00000-of-00002.parquet``. Raises ``DataError``.
    """
    files = _files(folder)
    if "train" not in files:
        return {}
    tables = {part: _concatenated([read(file) for file in files[part]]) for part in PARTS if part in files}
    names = ", ".join(file.name for part in tables for file in files[part])
    train = tables["train"]
    return {**tables, "train": replace(train, notes=(*train.notes, f"of {folder} were read {names}"))}


def _files(folder: Path) -> dict[str, list[Path]]:
    by_name: dict[str, list[Path]] = defaultdict(list)
    is_sharded = False
    for file in sorted(folder.iterdir()):
        match = _NAME.fullmatch(file.name)
        if match and file.is_file() and is_data_file(file.name):
            by_name[match["split"].lower()].append(file)
            is_sharded = is_sharded or match["shard"] is not None
    by_part = {}
    for part, names in PARTS.items():
        files = [file for name in names for file in by_name.get(name, ())]
        if len(files) > 1 and not is_sharded:
            listed = " and ".join(file.name for file in files)
            raise DataError(f"{folder} has {listed}, which would both be the {part} data; keep one, or name the files")
        if files:
            by_part[part] = files
    return by_part


def _concatenated(tables: Sequence[Table]) -> Table:
    first = tables[0]
    for table in tables[1:]:
        if table.columns != first.columns:
            raise DataError(
                f"{table.source} has the columns {', '.join(table.columns)}, and {first.source} has "
                f"{', '.join(first.columns)}; parts of one split need the same"
            )
    return Table(
        first.source,
        first.columns,
        [row for table in tables for row in table.rows],
        [place for table in tables for place in table.places],
        tuple(note for table in tables for note in table.notes),
        tuple(warning for table in tables for warning in table.warnings),
        first.class_columns,
    )
