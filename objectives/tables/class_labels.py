"""Names of the classes that Hugging Face ``datasets`` writes beside a column of numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoopt.objectives.tables.table import Cell, Table
from autoopt.strategies.errors import DataError

_INNER = ("feature", "dtype", "sequence", "list", "large_list")
"""Keys under which a feature has that of its items."""


def schema_class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Return the class names of each column with classes, from the metadata of an Arrow schema; empty without any."""
    try:
        return class_names_of(json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"])
    except (ValueError, KeyError, TypeError):
        return {}  # Another program's metadata.


def class_names_of(features: Any) -> dict[str, tuple[str, ...]]:
    """Return the class names of each column with classes, or lists of classes.

    ``features`` is an object, as in ``dataset_info.json``, or a list, as in the front matter of a dataset's README.
    """
    if isinstance(features, list):
        features = {item.get("name"): item for item in features if isinstance(item, dict)}
    if not isinstance(features, dict):
        return {}
    names = {column: _names(feature) for column, feature in features.items() if isinstance(column, str)}
    return {column: of_column for column, of_column in names.items() if of_column}


def with_class_names(table: Table, names: Mapping[str, Sequence[str]]) -> Table:
    """Return the table with names instead of numbers of classes; a negative number, no label, becomes None.

    Raises ``DataError`` for a number that has no name.
    """
    columns = [column for column in table.columns if column in names]
    if not columns:
        return table
    for column in columns:
        position, of_column = table.columns.index(column), names[column]
        known = frozenset(of_column)
        for row, place in zip(table.rows, table.places, strict=True):
            row[position] = _named(row[position], of_column, known, f"{place}: the column '{column}'")  # type: ignore[index]
    return replace(table, class_columns=table.class_columns | set(columns))


def hides_labels(table: Table) -> bool:
    """Return whether a column of classes has no class in any row, as in the test data of contests."""
    positions = [table.columns.index(column) for column in table.class_columns]
    return any(all(_is_hidden(row[position]) for row in table.rows) for position in positions)


def _names(feature: Any) -> tuple[str, ...]:
    """Return the names in a feature such as ``{"_type": "ClassLabel", "names": [...]}`` or a list of them."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names(feature[0])
    if not isinstance(feature, dict):
        return ()
    if feature.get("_type") == "ClassLabel":
        return _listed(feature.get("names"))
    if "class_label" in feature:  # The front matter of a README: {dtype: {class_label: {names: {"0": no, "1": yes}}}}.
        of_class = feature["class_label"]
        return _listed(of_class.get("names")) if isinstance(of_class, dict) else ()
    return _names(next((feature[key] for key in _INNER if key in feature), None))


def _listed(names: Any) -> tuple[str, ...]:
    if isinstance(names, dict):
        numbers = sorted((int(number), name) for number, name in names.items() if str(number).isdecimal())
        names = [name for _, name in numbers] if [number for number, _ in numbers] == list(range(len(names))) else []
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _named(cell: Any, names: Sequence[str], known: frozenset[str], place: str) -> Any:
    if type(cell) is int:
        if 0 <= cell < len(names):
            return names[cell]
        if cell < 0:
            return None
        raise DataError(
            f"{place} holds the class {cell}, and its schema names {len(names)} classes only; write the file again"
        )
    if isinstance(cell, list):
        return [_named(item, names, known, place) for item in cell]
    if isinstance(cell, float) and cell.is_integer():
        return _named(int(cell), names, known, place)
    if isinstance(cell, str) and cell not in known and cell.strip().removeprefix("-").isdecimal():
        return _named(int(cell), names, known, place)
    return cell


def _is_hidden(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, list) and bool(cell) and all(item is None for item in cell))
