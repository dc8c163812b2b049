"""A copy of a data set's repository on the Hugging Face Hub: a README whose front matter names files of each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from autoopt.objectives.file_formats import is_data_file
from autoopt.objectives.layouts.layout import Layout
from autoopt.objectives.layouts.split_folder import read_files, split_files, split_folders
from autoopt.objectives.tables.class_labels import class_names_of, with_class_names
from autoopt.objectives.tables.table import Table
from autoopt.objectives.tables.text_lines import read_text_file
from autoopt.strategies.errors import DataError, did_you_mean

README = "README.md"
MAX_README_BYTES = 5_000_000


def hub_repository(folder: Path, configuration: str | None) -> Layout | None:
    """Return the layout that the README of a repository describes; None without ``configs`` in its front matter.

    Of several configurations it is the one named, else the one that the README makes the default. Raises ``DataError``.
    """
    front_matter = _front_matter(folder / README)
    configs = [item for item in front_matter.get("configs") or () if isinstance(item, dict)]
    if not configs:
        return None
    config = _chosen(folder, {str(item.get("config_name", "default")): item for item in configs}, configuration)
    name = str(config.get("config_name", "default"))
    files = _files(folder, config)
    if not files:
        inner = folder / str(config.get("data_dir") or "")
        return split_files(inner) or split_folders(inner)
    names = class_names_of(_features(front_matter, name))
    return Layout(
        folder,
        {split: partial(_read, of_split, names) for split, of_split in files.items()},
        f"the configuration '{name}' in {folder / README} was read, with the splits {', '.join(files)}",
    )


def choose(folder: Path, names: Sequence[str], configuration: str | None) -> str:
    """Return the name of the configuration to read. Raises ``DataError``, which lists them, if it is in doubt."""
    if configuration is not None and configuration in names:
        return configuration
    if configuration is None and len(names) == 1:
        return names[0]
    problem = "has several configurations" if configuration is None else f"has no configuration '{configuration}'"
    raise DataError(
        f"{folder} {problem}{did_you_mean(configuration or '', names)}: {', '.join(names)}; name one behind a colon, "
        f"for example '{folder}:{names[0]}'"
    )


def _chosen(folder: Path, configs: Mapping[str, dict[str, Any]], configuration: str | None) -> dict[str, Any]:
    default = next((name for name, config in configs.items() if config.get("default") is True), None)
    if configuration is None:
        configuration = default or ("default" if "default" in configs else None)
    return configs[choose(folder, list(configs), configuration)]


def _front_matter(readme: Path) -> dict[str, Any]:
    """Return the YAML between two lines ``---`` at the start of a file; empty without."""
    import yaml

    if not readme.is_file():
        return {}
    text = read_text_file(readme, max_bytes=MAX_README_BYTES, remedy="remove it from the folder of the data")
    head, *parts = text.replace("\r\n", "\n").split("---\n", 2)
    if head.strip() or len(parts) < 2:
        return {}
    try:
        document = yaml.safe_load(parts[0])
    except (yaml.YAMLError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{readme}: its front matter is no YAML: {first}; correct it, or remove the file") from None
    return document if isinstance(document, dict) else {}


def _files(folder: Path, config: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Return the files of each split: ``data_files`` is a pattern, a list of them, or a list of splits with theirs."""
    data_files = config.get("data_files")
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    if not isinstance(data_files, list) or not all(isinstance(item, dict) for item in data_files):
        data_files = [{"split": "train", "path": data_files}] if data_files else []
    patterns = {str(item.get("split", "train")): item.get("path") for item in data_files}
    root = folder / str(config.get("data_dir") or "")
    return {split: _matching(folder, root, pattern, split) for split, pattern in patterns.items()}


def _matching(folder: Path, root: Path, patterns: Any, split: str) -> list[Path]:
    files: list[Path] = []
    for pattern in patterns if isinstance(patterns, list) else [patterns]:
        path = PurePosixPath(str(pattern))
        if path.is_absolute() or ".." in path.parts or "://" in str(pattern):
            raise DataError(f"{folder / README}: the files {str(pattern)!r:.80} of '{split}' are outside the folder")
        matching = sorted(file for file in root.glob(str(path)) if file.is_file() and is_data_file(file.name))
        if not matching:
            raise DataError(
                f"{root} has no data files '{pattern}', which {folder / README} names for the split '{split}'; fetch "
                "them (git lfs pull), or remove the split from it"
            )
        files += [file for file in matching if file not in files]
    return files


def _features(front_matter: Mapping[str, Any], name: str) -> Any:
    info = front_matter.get("dataset_info")
    infos = info if isinstance(info, list) else [info]
    of_name = [item for item in infos if isinstance(item, dict) and item.get("config_name", name) == name]
    return of_name[0].get("features") if of_name else None


def _read(files: list[Path], names: Mapping[str, Sequence[str]]) -> Table:
    table = read_files(files)
    return table if table.class_columns else with_class_names(table, names)
