"""A folder of data in any layout."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from autoopt.objectives.layouts.class_folders import read_class_folders
from autoopt.objectives.layouts.hub_repository import choose, hub_repository
from autoopt.objectives.layouts.layout import Layout, subfolders
from autoopt.objectives.layouts.saved_dataset import saved_dataset
from autoopt.objectives.layouts.split_folder import split_files, split_folders


def layout_of(folder: Path, configuration: str | None = None) -> Layout:
    """Return the splits of a folder; ``configuration`` names one of several data sets in it. Raises ``DataError``."""
    layout = (
        saved_dataset(folder) or hub_repository(folder, configuration) or split_files(folder) or split_folders(folder)
    )
    if layout is not None:
        return layout
    inner = {item.name: item for item in subfolders(folder)}
    data_sets = {name: files for name, path in inner.items() if (files := saved_dataset(path) or split_files(path))}
    if data_sets and (configuration or len(data_sets) == len(inner)):
        return data_sets[choose(folder, list(data_sets), configuration)]
    return Layout(folder, {"": partial(read_class_folders, folder)})
