"""Arrays of a student: their names, shapes and types, and text stored as compressed bytes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays: TypeAlias = "Mapping[str, NDArray[Any]]"
"""All numbers of a student by name."""


def packed(text: str) -> NDArray[Any]:
    """Return the text as compressed bytes."""
    import numpy as np

    return np.frombuffer(zlib.compress(text.encode(), 9), dtype=np.uint8)


def unpacked(array: NDArray[Any]) -> str:
    """Return the text of ``packed``."""
    return zlib.decompress(array.tobytes()).decode()


def shapes_of(arrays: Arrays) -> dict[str, Any]:
    """Return type and shape of each array as JSON."""
    return {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}


def weight_count(arrays: Arrays) -> int:
    """Return how many of the numbers are weights."""
    return sum(array.size for array in arrays.values() if array.dtype.kind == "f")
