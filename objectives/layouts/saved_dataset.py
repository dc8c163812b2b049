"""A folder that ``save_to_disk`` of Hugging Face ``datasets`` has written: one data set, or one for each split."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from autoopt.objectives.file_formats.arrow_file import read_arrow
from autoopt.objectives.layouts.layout import Layout, concatenated
from autoopt.objectives.tables.class_labels import class_names_of, with_class_names
from autoopt.objectives.tables.table import Table
from autoopt.objectives.tables.text_lines import read_text_file
from autoopt.strategies.errors import DataError

SPLITS_FILE, STATE_FILE, INFO_FILE = "dataset_dict.json", "state.json", "dataset_info.json"


def saved_dataset(folder: Path) -> Layout | None:
    """Return the layout of a ``Dataset`` or a ``DatasetDict`` saved to disk; None for another. Raises ``DataError``."""
    if (folder / SPLITS_FILE).is_file():
        splits = _document(folder / SPLITS_FILE).get("splits")
        if not isinstance(splits, list) or not splits:
            raise DataError(f"{folder / SPLITS_FILE} names no splits; save the data set again")
        names = [_inside(folder, str(name)).name for name in splits]
        return Layout(
            folder,
            {name: partial(_read, folder / name) for name in names},
            f"{folder} was written by save_to_disk; its splits are {', '.join(names)}",
        )
    if (folder / STATE_FILE).is_file():
        return Layout(folder, {"": partial(_read, folder)}, f"{folder} was written by save_to_disk")
    return None


def _read(folder: Path) -> Table:
    """Return the rows of one split in the order of its files. Raises ``DataError``."""
    if not (folder / STATE_FILE).is_file():
        raise DataError(f"{folder} has no {STATE_FILE}, so the split is not whole; copy it again")
    state = _document(folder / STATE_FILE)
    if state.get("_indices_data_files"):
        raise DataError(f"{folder} holds a selection of rows; call flatten_indices() on the data set and save it again")
    listed = state.get("_data_files") or []
    files = [_inside(folder, str(item.get("filename"))) for item in listed if isinstance(item, dict)]
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None or not files:
        raise DataError(f"{folder} lacks {missing.name if missing else 'its .arrow files'}; copy the folder again")
    table = concatenated([read_arrow(file) for file in files])
    if not table.rows:
        raise DataError(f"{folder} has no rows")
    if table.class_columns or not (folder / INFO_FILE).is_file():
        return table
    return with_class_names(table, class_names_of(_document(folder / INFO_FILE).get("features")))


def _inside(folder: Path, name: str) -> Path:
    if Path(name).name != name or name in ("", ".", ".."):
        raise DataError(f"{folder} names the file {name!r:.60}, which is not in it; save the data set again")
    return folder / name


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text_file(path, max_bytes=50_000_000, remedy="save the data set again"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON: {error}; save the data set again") from None
    return document if isinstance(document, dict) else {}
