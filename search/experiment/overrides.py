"""Changes to an experiment file before it is validated: ``--set key.sub=value``, and paths made absolute."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoopt.objectives.data.sources import path_exists
from autoopt.objectives.file_formats import is_data_file
from autoopt.objectives.models import packages
from autoopt.search.experiment.yaml_file import Document, Where, parse_yaml
from autoopt.strategies.catalog import catalog
from autoopt.strategies.errors import ExperimentError

PATH_KEYS: tuple[Where, ...] = (
    ("model",),
    ("data", "source"),
    ("data", "train"),
    ("data", "validation"),
    ("data", "test"),
    ("data", "unlabeled"),
)


def apply_overrides(document: Document, overrides: Sequence[str]) -> Document:
    """Return the document with each ``key.sub=value`` set; the value is read as YAML.

    Raises ``ExperimentError`` for one that is not of this form or leads into a value that is no section.
    """
    data = document.data
    sources: dict[Where, str] = {}
    for override in overrides:
        key, sign, text = override.partition("=")
        where = tuple(key.strip().split("."))
        if not sign or not all(where):
            raise ExperimentError(f"--set {override}: write it as key.sub=value, for example --set search.trials=8")
        value = parse_yaml(text, source=f"--set {override}").data
        data = resolve_paths(_with(data, where, value, override), Path.cwd(), only=where)
        sources[where] = f"--set {override}"
    return _Overridden(document.source, data, document.positions, sources) if sources else document


class _Overridden(Document):
    """A document some of whose values come from the command line."""

    def __init__(self, source: str, data: Any, positions: Any, sources: dict[Where, str]) -> None:
        super().__init__(source, data, positions)
        object.__setattr__(self, "_sources", sources)

    def place(self, where: Where) -> str:
        sources: dict[Where, str] = self._sources  # type: ignore[attr-defined]
        for length in range(len(where), 0, -1):
            if where[:length] in sources:
                return sources[where[:length]]
        return super().place(where)


def resolve_paths(data: Any, folder: Path, *, only: Where = ()) -> Any:
    """Make the paths of models and data absolute, relative to ``folder``; names on the Hub and in packages stay."""
    of_strategies = [("strategies", name, key) for name, strategy in catalog().items() for key in strategy.reads]
    for where in (*PATH_KEYS, *of_strategies):
        if where[: len(only)] == only:
            data = _mapped(data, where, folder)
    return data


def _mapped(data: Any, where: Where, folder: Path) -> Any:
    if not isinstance(data, dict) or where[0] not in data:
        return data
    value = data[where[0]]
    new = _absolute(value, folder) if len(where) == 1 else _mapped(value, where[1:], folder)
    return {**data, where[0]: new}


def _absolute(value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or value.startswith(packages.PREFIX):
        return value
    path = folder / Path(value).expanduser()
    if path_exists(path) or re.match(r"\.{0,2}/|~", value) or is_data_file(value):
        return str(path)
    return value


def _with(data: Any, where: tuple[str, ...], value: Any, override: str) -> Any:
    if not where:
        return value
    if data is None or data is True:
        data = {}  # A strategy that is simply on may get settings.
    if not isinstance(data, dict):
        raise ExperimentError(
            f"--set {override}: '{where[0]}' cannot be set inside {data!r}, which is no section; set the whole of it"
        )
    return {**data, where[0]: _with(data.get(where[0]), where[1:], value, override)}
