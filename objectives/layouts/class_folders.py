"""A folder with a subfolder for each class, and in each of them a .txt file for each text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoopt.objectives.layouts.layout import EXPECTED, contents, subfolders
from autoopt.objectives.tables.table import LABEL_COLUMN, TEXT_COLUMN, Table
from autoopt.objectives.tables.text_lines import read_text_file
from autoopt.strategies.errors import DataError

UNREADABLE_SHARE = 0.01
"""Maximum share of files that are not UTF-8; they are left out with a note."""
UNLABELED = frozenset({"unsup", "unlabeled", "unlabelled"})
"""Names of a folder of texts without a class beside those of classes."""


def read_class_folders(path: Path) -> Table:
    """Read the texts in the order of their names, the folder's name as label; without folders there are no labels.

    A folder ``unsup`` beside two others is left out with a note. Raises ``DataError``.
    """
    folders = subfolders(path)
    if not folders:
        return _read_texts(path)
    unlabeled = [folder for folder in folders if folder.name.lower() in UNLABELED and len(folders) > 2]
    classes = [folder for folder in folders if folder not in unlabeled]
    files = [(file, folder.name) for folder in classes for file in _text_files(folder, path)]
    rows, places, notes = _rows(files)
    notes += [
        f"left out the texts in {folder}, which have no class; 'unlabeled: {folder}' under data uses them"
        for folder in unlabeled
    ]
    return Table(str(path), (TEXT_COLUMN, LABEL_COLUMN), rows, places, tuple(notes))


def _read_texts(path: Path) -> Table:
    if not any(_is_text_file(file) for file in path.iterdir()):
        raise DataError(f"{path} holds {contents(path)}, and no data that can be read; {EXPECTED}")
    rows, places, notes = _rows([(file, "") for file in _text_files(path, path)])
    return Table(str(path), (TEXT_COLUMN,), [row[:1] for row in rows], places, tuple(notes))


def _rows(files: Sequence[tuple[Path, str]]) -> tuple[list[list[str]], list[str], list[str]]:
    """Return texts with labels, their places, and a note on files that are left out for not being UTF-8."""
    rows, places, errors = [], [], []
    for file, label in files:
        try:
            rows.append([read_text_file(file), label])
            places.append(str(file))
        except DataError as error:
            errors.append(error)
    if len(errors) > UNREADABLE_SHARE * len(files):
        raise DataError(f"{errors[0]} ({len(errors)} of {len(files)} files are like this)")
    return rows, places, [f"left out {len(errors)} of {len(files)} files: {errors[0]}"] if errors else []


def _text_files(folder: Path, root: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if _is_text_file(file))
    if not files:
        raise DataError(
            f"{folder} holds {contents(folder)}, and no .txt files, one for each text of the class '{folder.name}'; "
            f"{EXPECTED}"
        )
    for file in files:
        if not file.resolve().is_relative_to(root.resolve()):
            raise DataError(f"{file} is a link that leads out of {root}; put the file itself there")
    return files


def _is_text_file(file: Path) -> bool:
    return file.suffix == ".txt" and not file.name.startswith(".")
