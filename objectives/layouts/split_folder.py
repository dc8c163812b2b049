"""A folder with a file, or a folder of files, for each split: ``train.jsonl``, ``data/train-0-of-2.parquet``."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import partial
from pathlib import Path

from autoopt.objectives.file_formats import is_data_file, read_usable
from autoopt.objectives.layouts.class_folders import read_class_folders
from autoopt.objectives.layouts.layout import PARTS, SPLIT_NAMES, Layout, concatenated, subfolders
from autoopt.objectives.layouts.saved_dataset import saved_dataset
from autoopt.objectives.tables.table import Table
from autoopt.strategies.errors import DataError

DATA_FOLDER = "data"
"""Folder of the files in a repository of the Hub."""
_NAME = re.compile(r"(?P<split>[A-Za-z]+)(?P<shard>-\d+-of-\d+(-[0-9a-f]+)?)?\..+")
"""File of a split; older repositories of the Hub add a digest to the number of a shard."""


def split_files(folder: Path) -> Layout | None:
    """Return the layout of a folder with a training file, in it or in its folder ``data``; None without.

    A split may be in several files, as on the Hub: ``train-00000-of-00002.parquet``. Raises ``DataError`` for two files
    of one split.
    """
    for parent in (folder, folder / DATA_FOLDER):
        files = _files(parent) if parent.is_dir() else {}
        if "train" in files:
            names = ", ".join(file.name for of_split in files.values() for file in of_split)
            readers = {name: partial(read_files, of_split) for name, of_split in files.items()}
            return Layout(parent, readers, f"of {parent} were read {names}")
    return None


def split_folders(folder: Path) -> Layout | None:
    """Return the layout of a folder with a folder for each split: ``train/a.parquet``, ``test/pos/1.txt``.

    None unless the folders in it have names of splits, ``train`` among them.
    """
    folders = {item.name.lower(): item for item in subfolders(folder)}
    if "train" not in folders or not set(folders) <= set(SPLIT_NAMES):
        return None
    return Layout(
        folder,
        {name: partial(_read_split_folder, path) for name, path in folders.items()},
        f"of {folder} were read the folders {', '.join(path.name for path in folders.values())}",
    )


def read_files(files: list[Path]) -> Table:
    """Return the rows of the files of one split. Raises ``DataError``."""
    return concatenated([read_usable(file) for file in files])


def _read_split_folder(folder: Path) -> Table:
    saved = saved_dataset(folder)
    if saved is not None and "" in saved.readers:
        return saved.readers[""]()
    files = sorted(item for item in folder.iterdir() if item.is_file() and is_data_file(item.name))
    is_of_texts = all(file.suffix.lower() == ".txt" for file in files)
    return read_class_folders(folder) if is_of_texts else read_files(files)


def _files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each split, by the first of its names."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    is_sharded = False
    for file in sorted(folder.iterdir()):
        match = _NAME.fullmatch(file.name)
        if match and file.is_file() and is_data_file(file.name):
            by_name[match["split"].lower()].append(file)
            is_sharded = is_sharded or match["shard"] is not None
    by_split = {}
    for part, names in PARTS.items():
        files = [file for name in names for file in by_name.get(name, ())]
        if len(files) > 1 and not is_sharded:
            listed = " and ".join(file.name for file in files)
            raise DataError(f"{folder} has {listed}, which would both be the {part} data; keep one, or name the files")
        if files:
            by_split[next(name for name in names if name in by_name)] = files
    return by_split
