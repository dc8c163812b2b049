"""A folder with a subfolder for each class, and in each of them a .txt file for each text."""

from __future__ import annotations

from pathlib import Path

from autoopt.objectives.tables.table import LABEL_COLUMN, TEXT_COLUMN, Table
from autoopt.objectives.tables.text_lines import read_text_file
from autoopt.strategies.errors import DataError

UNREADABLE_SHARE = 0.01
"""Maximum share of files that are not UTF-8; they are left out with a note."""


def read_class_folders(path: Path) -> Table:
    """Read the texts in the order of their names, the folder's name as label. Raises ``DataError``."""
    classes = sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith((".", "_")))
    if not classes:
        files = ", ".join(sorted(item.name for item in path.iterdir())[:10]) or "nothing"
        raise DataError(
            f"{path} has no class folders; it holds {files}. Give a file, a folder with a folder of .txt files "
            "for each class, or one with a file for each split, such as train.csv and test.csv"
        )
    rows, places, errors = [], [], []
    for folder in classes:
        for file in _text_files(folder, path):
            try:
                rows.append([read_text_file(file), folder.name])
                places.append(str(file))
            except DataError as error:
                errors.append(error)
    count = len(rows) + len(errors)
    if len(errors) > UNREADABLE_SHARE * count:
        raise DataError(f"{errors[0]} ({len(errors)} of {count} files are like this)")
    notes = (f"left out {len(errors)} of {count} files: {errors[0]}",) if errors else ()
    return Table(str(path), (TEXT_COLUMN, LABEL_COLUMN), rows, places, notes)


def _text_files(folder: Path, root: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.suffix == ".txt" and not file.name.startswith("."))
    if not files:
        raise DataError(
            f"{folder} holds no .txt files; each class folder needs one for each text, or remove the folder"
        )
    for file in files:
        if not file.resolve().is_relative_to(root.resolve()):
            raise DataError(f"{file} is a link that leads out of {root}; put the file itself there")
    return files
