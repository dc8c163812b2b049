"""A folder with a folder for each class, and in each of them a .txt file for each text."""

from __future__ import annotations

from pathlib import Path

from autoopt.objectives.file_formats.table import LABEL_COLUMN, TEXT_COLUMN, Table
from autoopt.objectives.file_formats.text_lines import whole_text
from autoopt.strategies.errors import DataError

UNREADABLE_SHARE = 0.01
"""Of the files of a folder, how many may be no UTF-8 and are left out with a note."""


def read_class_folders(path: Path) -> Table:
    """Read the texts in the order of their names, the name of the folder as label. Raises ``DataError``."""
    classes = sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith((".", "_")))
    if not classes:
        files = ", ".join(sorted(item.name for item in path.iterdir())[:10]) or "nothing"
        raise DataError(
            f"{path} has no class folders; it holds {files}. Give a file, a folder with a folder of .txt files "
            "for each class, or one with a file for each split, such as train.csv and test.csv"
        )
    rows, places, unreadable = [], [], []
    for folder in classes:
        texts = _texts(folder, path)
        for file in texts:
            try:
                rows.append([whole_text(file), folder.name])
                places.append(str(file))
            except DataError as error:
                unreadable.append(error)
    if len(unreadable) > UNREADABLE_SHARE * (len(rows) + len(unreadable)):
        raise DataError(f"{unreadable[0]} ({len(unreadable)} of {len(rows) + len(unreadable)} files are like this)")
    notes = (
        [f"left out {len(unreadable)} of {len(rows) + len(unreadable)} files: {unreadable[0]}"] if unreadable else []
    )
    return Table(str(path), (TEXT_COLUMN, LABEL_COLUMN), rows, places, tuple(notes))


def _texts(folder: Path, root: Path) -> list[Path]:
    texts = sorted(file for file in folder.iterdir() if file.suffix == ".txt" and not file.name.startswith("."))
    if not texts:
        raise DataError(
            f"{folder} holds no .txt files; each class folder needs one for each text, or remove the folder"
        )
    inside = root.resolve()
    for file in texts:
        if not file.resolve().is_relative_to(inside):
            raise DataError(f"{file} is a link that leads out of {root}; put the file itself there")
    return texts
