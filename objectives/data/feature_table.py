"""Conversion of tokenized examples to an Arrow table, a column for each feature, and back without loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from autoopt.strategies.candidate import Features


def features_to_table(features: Sequence[Features]) -> Any | None:
    """Return a ``pyarrow.Table``, or None if a feature is not an int, a float or a list of one of these.

    All examples must have the same features, as they do if all have labels or none has.
    """
    import pyarrow

    if not features or any(item.keys() != features[0].keys() for item in features):
        return None
    columns = {name: _column([item[name] for item in features]) for name in features[0]}
    return None if None in columns.values() else pyarrow.table(columns)


def table_to_features(table: Any) -> list[Features]:
    """Return the examples. Inverse of ``features_to_table``."""
    names = table.column_names
    columns = [_values(table.column(name).combine_chunks()) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _column(values: Sequence[Any]) -> Any | None:
    import numpy as np
    import pyarrow

    if not isinstance(values[0], list):
        value_type = _common_type(values)
        return None if value_type is None else pyarrow.array(values, value_type)
    if not all(type(value) is list for value in values):
        return None
    flat = [item for value in values for item in value]
    value_type = _common_type(flat)
    if value_type is None:
        return None
    offsets = np.cumsum([0, *map(len, values)], dtype=np.int64)
    return pyarrow.LargeListArray.from_arrays(offsets, pyarrow.array(flat, value_type))


def _common_type(values: Sequence[Any]) -> Any | None:
    """Return the Arrow type that holds all values exactly; None for booleans and numbers of other libraries."""
    import pyarrow

    python_types = set(map(type, values))
    if python_types == {float}:
        return pyarrow.float64()
    if python_types - {int}:
        return None
    low, high = min(values, default=0), max(values, default=0)
    for bits, arrow_type in ((31, pyarrow.int32()), (63, pyarrow.int64())):
        if -(2**bits) <= low and high < 2**bits:
            return arrow_type
    return None


def _values(column: Any) -> list[Any]:
    import pyarrow

    if not pyarrow.types.is_large_list(column.type):
        return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
    flat, offsets = column.values.to_numpy().tolist(), column.offsets.to_numpy().tolist()
    return [flat[start:end] for start, end in pairwise(offsets)]
