"""Changes to an experiment file before it is validated: ``--set key.sub=value``, and absolute paths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoopt.objectives.data.sources import path_exists, split_address
from autoopt.objectives.file_formats import is_data_file
from autoopt.objectives.models import packages
from autoopt.search.experiment.yaml_file import Document, KeyPath, parse_yaml
from autoopt.strategies.catalog import catalog
from autoopt.strategies.errors import ExperimentError

PATH_KEYS: tuple[KeyPath, ...] = (
    ("model",),
    ("data", "source"),
    ("data", "train"),
    ("data", "validation"),
    ("data", "test"),
    ("data", "unlabeled"),
)


def apply_overrides(document: Document, overrides: Sequence[str]) -> Document:
    """Return the document with each ``key.sub=value`` set; the value is parsed as YAML.

    Raises ``ExperimentError`` for an override of another form, or into a value that is not a section.
    """
    data = document.data
    sources: dict[KeyPath, str] = {}
    for override in overrides:
        key, sign, text = override.partition("=")
        keys = tuple(key.strip().split("."))
        if not sign or not all(keys):
            raise ExperimentError(f"--set {override}: write it as key.sub=value, for example --set search.trials=8")
        value = parse_yaml(text, source=f"--set {override}").data
        data = resolve_paths(_replaced(data, keys, value, override), Path.cwd(), only=keys)
        sources[keys] = f"--set {override}"
    return OverriddenDocument(document.source, data, document.positions, sources) if sources else document


@dataclass(frozen=True)
class OverriddenDocument(Document):
    """A document with values from the command line."""

    overrides: dict[KeyPath, str] = field(default_factory=dict)
    """The override that set the value of each key."""

    def place(self, keys: KeyPath) -> str:
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.overrides:
                return self.overrides[keys[:length]]
        return super().place(keys)


def resolve_paths(data: Any, folder: Path, *, only: KeyPath = ()) -> Any:
    """Make paths of models and data below ``only`` absolute, relative to ``folder``; Hub and package names stay."""
    strategy_keys = [("strategies", name, key) for name, strategy in catalog().items() for key in strategy.reads]
    for keys in (*PATH_KEYS, *strategy_keys):
        if keys[: len(only)] == only:
            data = _with_absolute_path(data, keys, folder)
    return data


def _with_absolute_path(data: Any, keys: KeyPath, folder: Path) -> Any:
    if not isinstance(data, dict) or keys[0] not in data:
        return data
    value = data[keys[0]]
    resolved = _absolute(value, folder) if len(keys) == 1 else _with_absolute_path(value, keys[1:], folder)
    return {**data, keys[0]: resolved}


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    if not isinstance(value, str) or value.startswith(packages.PREFIX):
        return value
    path = folder / Path(value).expanduser()
    if path_exists(split_address(path)[0]) or re.match(r"\.{0,2}/|~", value) or is_data_file(value):
        return str(path)
    return value


def _replaced(data: Any, keys: tuple[str, ...], value: Any, override: str) -> Any:
    """Return ``data`` with the value at ``keys`` replaced."""
    if not keys:
        return value
    if data is None or data is True:
        data = {}  # A strategy that is simply on may get settings.
    if not isinstance(data, dict):
        raise ExperimentError(
            f"--set {override}: '{keys[0]}' cannot be set inside {data!r}, which is no section; set the whole of it"
        )
    return {**data, keys[0]: _replaced(data.get(keys[0]), keys[1:], value, override)}
