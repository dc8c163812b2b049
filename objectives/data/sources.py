"""What an address of data means: a file, a folder, a place inside a package, or a dataset on the Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoopt.objectives.data.split_folder import PARTS, read_splits
from autoopt.objectives.file_formats.readers import is_data_file, read
from autoopt.objectives.file_formats.table import Table
from autoopt.objectives.models import packages
from autoopt.objectives.models.hub import connection_errors, first_line
from autoopt.strategies.errors import DataError, EnvironmentProblem, did_you_mean

_HUB_NAME = re.compile(
    r"(?P<name>[\w-][\w.-]*(?:/[\w-][\w.-]*)?)(?::(?P<configuration>[\w.-]+))?(?:@(?P<split>[\w.-]+))?"
)


def tables(address: str, *, part: str, whole: bool) -> dict[str, Table]:
    """Return what is at ``address`` by part. A file, a folder of class folders or one split is a table under ``part``.

    A folder with a file for each split, or a Hub dataset, gives each of its splits where the ``whole`` data is asked
    for, else the one for ``part``. A Hub dataset is written ``NAME``, ``NAME:CONFIGURATION``, ``NAME@SPLIT`` or
    ``NAME:CONFIGURATION@SPLIT``. Raises ``DataError``; ``EnvironmentProblem`` where the Hub cannot be reached.
    """
    path = packages.locate(address) if address.startswith(packages.PREFIX) else Path(address).expanduser()
    if present(path):
        found = (read_splits(path) if path.is_dir() else {}) or {part: read(path)}
    else:
        hub = _HUB_NAME.fullmatch(address)
        if hub is None or is_data_file(address):
            raise DataError(_no_such_path(path))
        dataset = _download(hub["name"], hub["configuration"])
        if hub["split"]:
            return {part: one_of_hub(dataset, hub["split"], source=address)}
        found = from_hub(dataset, source=address)
    return found if whole else {part: found.get(part) or found["train"]}


def present(path: Path) -> bool:
    """True where something is there that can be looked at; no path is too long to be asked about."""
    try:
        return path.exists()
    except OSError:
        return False


def one_of_hub(dataset: Mapping[str, Any], split: str, *, source: str) -> Table:
    """The table of one split of a ``datasets.DatasetDict``, whatever it is called."""
    if split not in dataset:
        raise DataError(
            f"{source} has no split '{split}'{did_you_mean(split, dataset)}; its splits are "
            f"{', '.join(dataset) or 'none'}"
        )
    table = _hub_table(dataset[split], source)
    if table is None:
        raise DataError(f"{source} hides its labels, as test splits of contests do; choose another split")
    return table


def from_hub(dataset: Mapping[str, Any], *, source: str) -> dict[str, Table]:
    """Turn a ``datasets.DatasetDict`` into tables by part, with the names of classes in place of their numbers.

    A part whose labels are all hidden (-1) is left out.
    """
    found = {}
    for part, names in PARTS.items():
        name = next((name for name in names if name in dataset), None)
        if name is not None:
            table = _hub_table(dataset[name], f"{source}[{name}]")
            if table is not None:
                found[part] = table
    if "train" not in found:
        raise DataError(f"{source} has no labelled split 'train'; its splits are {', '.join(dataset) or 'none'}")
    return found


def _hub_table(split: Any, source: str) -> Table | None:
    columns = {}
    for name, feature in split.features.items():
        values = _named(list(split[name]), feature)
        if values is None:
            return None
        columns[name] = values
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    if not rows:
        raise DataError(f"{source} has no rows")
    return Table(source, tuple(columns), rows, [f"{source}: row {number}" for number in range(1, len(rows) + 1)])


def _named(values: list[Any], feature: Any) -> list[Any] | None:
    """The values of a column with the names of classes in place of their numbers; None where all are hidden (-1)."""
    inner = getattr(feature, "feature", None)
    if hasattr(inner, "int2str"):
        numbers = [number for value in values for number in value or ()]
        if numbers and all(number == -1 for number in numbers):
            return None
        return [None if value is None else [_name(number, inner) for number in value] for value in values]
    if not hasattr(feature, "int2str"):
        return values
    if values and all(value == -1 for value in values):
        return None
    return [_name(value, feature) for value in values]


def _name(number: int | None, feature: Any) -> str | None:
    return None if number is None or number < 0 else str(feature.int2str(number))


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
        # Such a name means a reader of whatever lies in the current folder; 'pandas' would read pickles there.
        raise DataError(
            f"there is no file or folder '{name}', and it is no dataset of the Hub but a format; give a file"
        )
    _check_reachable(name)
    datasets.disable_progress_bars()
    try:
        # Never with code from the Hub: this version of datasets runs none, and no argument here asks for any.
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
    """Ask once and briefly: ``datasets`` itself tries for half a minute."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    if constants.is_offline_mode():
        return  # What is in the cache is used.
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
    try:
        names = sorted(item.name for item in folder.iterdir())
    except OSError:
        return f"there is no folder {folder}; write the path of the data from the experiment file's folder"
    listed = ", ".join(names[:10]) or "nothing"
    return f"there is no {path.name} in {folder}{did_you_mean(path.name, names)}; it holds {listed}"
