"""Data by address: a file, a folder, a path inside a package, or a dataset on the Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoopt.objectives.file_formats import is_data_file, os_errors_reported, read_usable
from autoopt.objectives.layouts.folder import layout_of
from autoopt.objectives.layouts.layout import PARTS, without_hidden
from autoopt.objectives.models import packages
from autoopt.objectives.models.hub import connection_errors, first_line
from autoopt.objectives.tables.class_labels import class_names_of, hides_labels, with_class_names
from autoopt.objectives.tables.table import Table
from autoopt.strategies.errors import DataError, EnvironmentProblem, did_you_mean

_HUB_NAME = re.compile(
    r"(?P<name>[\w-][\w.-]*(?:/[\w-][\w.-]*)?)(?::(?P<configuration>[\w.-]+))?(?:@(?P<split>[\w.-]+))?"
)
_LOCAL_NAME = re.compile(r"(?P<folder>.+?)(?::(?P<configuration>[\w.-]+))?(?:@(?P<split>[\w.-]+))?", re.DOTALL)


def read_source(address: str, *, part: str, whole: bool) -> dict[str, Table]:
    """Return the tables at ``address`` by part. A file, a folder of class folders or one split is a table for ``part``.

    A folder with splits, or a Hub dataset, gives all of its splits if ``whole``, else the one for ``part``. A Hub
    dataset is written ``NAME``, ``NAME:CONFIGURATION``, ``NAME@SPLIT`` or ``NAME:CONFIGURATION@SPLIT``, and so is a
    folder. Raises ``DataError``; ``EnvironmentProblem`` if the Hub cannot be reached.
    """
    configuration = split = None
    path = packages.locate(address) if address.startswith(packages.PREFIX) else Path(address).expanduser()
    if not path_exists(path):
        path, configuration, split = split_address(path)
    if path_exists(path):
        return _read_path(path, configuration, split, part=part, whole=whole)
    hub = _HUB_NAME.fullmatch(address)
    if hub is None or is_data_file(address):
        raise DataError(_no_such_path(path))
    dataset = _download(hub["name"], hub["configuration"])
    if hub["split"]:
        return {part: hub_split(dataset, hub["split"], source=address)}
    if whole:
        return hub_splits(dataset, source=address)
    name = next((name for name in (*PARTS[part], *PARTS["train"]) if name in dataset), PARTS["train"][0])
    return {part: hub_split(dataset, name, source=address)}


def path_exists(path: Path) -> bool:
    """Return whether the path exists; False for one that the system cannot look up, being too long for example."""
    try:
        return path.exists()
    except OSError:
        return False


def _is_link(path: Path) -> bool:
    """Return whether the path is a symbolic link; False for one that the system cannot look up."""
    try:
        return path.is_symlink()
    except OSError:
        return False


def split_address(path: Path) -> tuple[Path, str | None, str | None]:
    """Return folder, configuration and split of ``FOLDER:CONFIGURATION@SPLIT``, the last two None if not given.

    A path is returned as it is unless what stands before the colon or the sign is a folder.
    """
    match = _LOCAL_NAME.fullmatch(str(path))
    if match and path_exists(folder := Path(match["folder"])) and folder.is_dir():
        return folder, match["configuration"], match["split"]
    return path, None, None


def _read_path(path: Path, configuration: str | None, split: str | None, *, part: str, whole: bool) -> dict[str, Table]:
    if not path.is_dir():
        return {part: read_usable(path)}
    with os_errors_reported(path):
        return layout_of(path, configuration).tables(part=part, whole=whole, split=split)


def hub_split(dataset: Mapping[str, Any], split: str, *, source: str) -> Table:
    """Return the table of one split of a ``datasets.DatasetDict``, whatever its name. Raises ``DataError``."""
    if split not in dataset:
        raise DataError(
            f"{source} has no split '{split}'{did_you_mean(split, dataset)}; its splits are "
            f"{', '.join(dataset) or 'none'}"
        )
    table = _hub_table(dataset[split], source)
    if hides_labels(table):
        raise DataError(f"{source} hides its labels, as test splits of contests do; choose another split")
    return table


def hub_splits(dataset: Mapping[str, Any], *, source: str) -> dict[str, Table]:
    """Return the splits of a ``datasets.DatasetDict`` by part, with names of classes instead of their numbers.

    A split whose labels are all hidden (-1) is left out. Raises ``DataError`` if there is no labelled training split.
    """
    tables = {}
    for part, names in PARTS.items():
        name = next((name for name in names if name in dataset), None)
        if name is not None:
            tables[part] = _hub_table(dataset[name], f"{source}[{name}]")
    if "train" not in tables or hides_labels(tables["train"]):
        raise DataError(f"{source} has no labelled split 'train'; its splits are {', '.join(dataset) or 'none'}")
    return without_hidden(tables)


def _hub_table(split: Any, source: str) -> Table:
    columns = [list(split[name]) for name in split.features]
    rows = [list(row) for row in zip(*columns, strict=True)]
    if not rows:
        raise DataError(f"{source} has no rows")
    places = [f"{source}: row {number}" for number in range(1, len(rows) + 1)]
    table = Table(source, tuple(split.features), rows, places)
    return with_class_names(table, class_names_of(split.features.to_dict()))


def _download(name: str, configuration: str | None) -> Mapping[str, Any]:
    try:
        import datasets
    except ImportError:
        raise EnvironmentProblem(
            f"there is no file or folder '{name}', and a dataset of the Hub needs the package 'datasets': "
            "pip install 'autoopt[hub]'"
        ) from None
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES as BUILDERS

    if name in BUILDERS:
        # Such a name means a loader of whatever is in the current folder; 'pandas' would read pickles there.
        raise DataError(
            f"there is no file or folder '{name}', and it is no dataset of the Hub but a format; give a file"
        )
    _check_reachable(name)
    datasets.disable_progress_bars()
    try:
        # This version of datasets runs no code from the Hub, and no argument here asks for it.
        return datasets.load_dataset(name, configuration)  # type: ignore[no-any-return]
    except datasets.exceptions.DatasetNotFoundError as error:
        raise DataError(_no_dataset(name, error)) from None
    except ValueError as error:
        raise DataError(
            f"the dataset '{name}' of the Hub cannot be read: {first_line(error)}; if it has several configurations, "
            "write NAME:CONFIGURATION"
        ) from None
    except (OSError, RuntimeError) as error:
        raise EnvironmentProblem(_unreachable(name, error)) from None
    finally:
        datasets.enable_progress_bars()


def _check_reachable(name: str) -> None:
    """Fail within seconds if the Hub is unreachable: ``datasets`` itself retries for half a minute."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    if constants.is_offline_mode():
        return  # The cache is used.
    try:
        HfApi().dataset_info(name, timeout=5)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise DataError(_no_dataset(name, error)) from None
    except connection_errors() as error:
        raise EnvironmentProblem(_unreachable(name, error)) from None


def _no_dataset(name: str, error: Exception) -> str:
    return f"there is no file or folder '{name}', and no such dataset on the Hub ({first_line(error)}); check the name"


def _unreachable(name: str, error: Exception) -> str:
    return (
        f"there is no file or folder '{name}', and the Hub cannot be reached for a dataset of this name "
        f"({first_line(error)}); check the path or the network, or set HF_HUB_OFFLINE=1 to use what was fetched before"
    )


def _no_such_path(path: Path) -> str:
    folder = path.parent
    if _is_link(path):
        return f"{path} is a link to {path.readlink()}, which leads to no file; link it to the data, or name the data"
    try:
        names = sorted(item.name for item in folder.iterdir())
    except OSError:
        return f"there is no folder {folder}; write the path of the data from the experiment file's folder"
    listed = ", ".join(names[:10]) or "nothing"
    return f"there is no {path.name} in {folder}{did_you_mean(path.name, names)}; it holds {listed}"
