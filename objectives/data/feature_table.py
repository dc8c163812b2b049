"""Tokenized examples as an Arrow table, a column for each feature, and back again without loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from autoopt.strategies.candidate import Features


def table_of(features: Sequence[Features]) -> Any | None:
    """Return a ``pyarrow.Table``, or None where a feature is no int, no float and no list of one of these.

    Each example must have the same features, as it has where all have labels or none has.
    """
    import pyarrow

    if not features or any(item.keys() != features[0].keys() for item in features):
        return None
    columns = {name: _column([item[name] for item in features]) for name in features[0]}
    return None if None in columns.values() else pyarrow.table(columns)


def features_of(table: Any) -> list[Features]:
    """Inverse of ``table_of``."""
    names = table.column_names
    columns = [_values(table.column(name).combine_chunks()) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _column(values: Sequence[Any]) -> Any | None:
    import numpy as np
    import pyarrow

    if not isinstance(values[0], list):
        kind = _kind(values)
        return None if kind is None else pyarrow.array(values, kind)
    if not all(type(value) is list for value in values):
        return None
    flat = [item for value in values for item in value]
    kind = _kind(flat)
    if kind is None:
        return None
    ends = np.cumsum([0, *map(len, values)], dtype=np.int64)
    return pyarrow.LargeListArray.from_arrays(ends, pyarrow.array(flat, kind))


def _kind(values: Sequence[Any]) -> Any | None:
    """The type that all of these numbers have, exactly; booleans and numbers of another library have none."""
    import pyarrow

    kinds = set(map(type, values))
    if kinds == {float}:
        return pyarrow.float64()
    if kinds - {int}:
        return None
    least, most = min(values, default=0), max(values, default=0)
    for bits, kind in ((31, pyarrow.int32()), (63, pyarrow.int64())):
        if -(2**bits) <= least and most < 2**bits:
            return kind
    return None


def _values(column: Any) -> list[Any]:
    import pyarrow

    if not pyarrow.types.is_large_list(column.type):
        return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
    flat, ends = column.values.to_numpy().tolist(), column.offsets.to_numpy().tolist()
    return [flat[start:end] for start, end in pairwise(ends)]
