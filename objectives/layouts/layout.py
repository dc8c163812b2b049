"""The splits of a folder, whatever its layout, each of them read when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from autoopt.objectives.tables.class_labels import hides_labels
from autoopt.objectives.tables.table import Table
from autoopt.strategies.errors import DataError, did_you_mean

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
)
"""Usual names of each split, the likeliest first."""
SPLIT_NAMES = tuple(name for names in PARTS.values() for name in names)
EXPECTED = (
    "a folder of data holds a file or a folder for each split, such as train.csv and test.csv or data/train-*.parquet, "
    "or a folder of .txt files for each class, such as pos/1.txt and neg/1.txt, or it was written by save_to_disk"
)


@dataclass(frozen=True)
class Layout:
    """Readers of the splits of a folder by name; a folder without splits has one reader, with an empty name."""

    folder: Path
    readers: Mapping[str, Callable[[], Table]]
    note: str = ""
    """Remark for the user on what is read."""

    def tables(self, *, part: str, whole: bool, split: str | None = None) -> dict[str, Table]:
        """Return the tables of all parts if ``whole``, else the one of ``part``, or of the split with this name.

        Without a split for ``part`` it is the training data. A split that hides its labels is left out of the whole
        with a warning. Raises ``DataError``.
        """
        if split is not None:
            return {part: self._noted(self._reader(split)())}
        if "" in self.readers:
            return {part: self._noted(self.readers[""]())}
        names = self._names()
        if not whole:
            return {part: self._noted(self.readers[names.get(part, names["train"])]())}
        tables = {of: self.readers[name]() for of, name in names.items()}
        tables["train"] = self._noted(tables["train"], unread=sorted(self.readers.keys() - set(names.values())))
        return without_hidden(tables)

    def _reader(self, split: str) -> Callable[[], Table]:
        if split not in self.readers:
            raise DataError(
                f"{self.folder} has no split '{split}'{did_you_mean(split, self.readers)}; its splits are "
                f"{', '.join(filter(None, self.readers)) or 'none'}"
            )
        return self.readers[split]

    def _names(self) -> dict[str, str]:
        """Return the name of the split that is each part. Raises ``DataError`` without training data."""
        by_part = {part: [name for name in names if name in self.readers] for part, names in PARTS.items()}
        if not by_part["train"]:
            raise DataError(
                f"{self.folder} has no split 'train'; its splits are {', '.join(self.readers)}: name the one that is "
                f"the training data, for example 'train: {self.folder}@{next(iter(self.readers))}' under data"
            )
        for part, names in by_part.items():
            if len(names) > 1:
                raise DataError(
                    f"{self.folder} has {' and '.join(names)}, which would both be the {part} data; keep one, or name "
                    "the files"
                )
        return {part: names[0] for part, names in by_part.items() if names}

    def _noted(self, table: Table, unread: Sequence[str] = ()) -> Table:
        notes = [self.note] if self.note else []
        if unread:
            notes.append(f"of {self.folder} were not read {', '.join(unread)}")
        return replace(table, notes=(*table.notes, *notes))


def without_hidden(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return the tables of parts without those whose labels are all hidden; the training data says so."""
    hidden = {part: table for part, table in tables.items() if part != "train" and hides_labels(table)}
    warnings = tuple(
        f"left out the {part} data of {table.source}: all {len(table.rows):,} rows hide their labels, as in contests"
        for part, table in hidden.items()
    )
    train = tables["train"]
    kept = {part: table for part, table in tables.items() if part not in hidden}
    return {**kept, "train": replace(train, warnings=(*train.warnings, *warnings))}


def concatenated(tables: Sequence[Table]) -> Table:
    """Return the rows of the parts of one split. Raises ``DataError`` if their columns differ."""
    first = tables[0]
    if len(tables) == 1:
        return first
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
        tuple(problem for table in tables for problem in table.bad_rows),
    )


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder by name, without hidden ones."""
    return sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith((".", "_")))


def contents(folder: Path) -> str:
    """Return the first names in a folder, for messages."""
    names = sorted(f"{item.name}/" if item.is_dir() else item.name for item in folder.iterdir())
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return (", ".join(names[:10]) or "nothing") + more
