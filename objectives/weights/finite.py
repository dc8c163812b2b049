"""Numbers in the weights of a model that are none: NaN and infinities, found by reading the files in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from types import MappingProxyType

import numpy as np

from autoopt.objectives.models.model_folder import ModelFolder
from autoopt.objectives.models.safetensors_header import StoredTensor, read_header
from autoopt.strategies.errors import ModelError

PIECE_BYTES = 2**20
"""As much as stays in the cache of a processor."""
_EXPONENTS = MappingProxyType(
    {
        "F64": ("<u8", 0x7FF0_0000_0000_0000),
        "F32": ("<u4", 0x7F80_0000),
        "BF16": ("<u2", 0x7F80),
        "F16": ("<u2", 0x7C00),
    }
)
"""By type of a tensor: its numbers as integers, and the exponent that infinity has; NaN are above it."""


@dataclass(frozen=True)
class NonFinite:
    """A tensor with numbers that are not finite."""

    name: str
    nan: int
    infinite: int


def check_finite(folder: ModelFolder) -> str | None:
    """Return a warning about infinite weights; None if there are none. Raises ``ModelError`` for NaN.

    A gigabyte takes half a second, if it is in memory. Files of GGUF are not read.
    """
    tensors = list(non_finite(folder))
    if bad := [tensor for tensor in tensors if tensor.nan]:
        raise ModelError(
            f"the weights of {folder.name} hold {sum(tensor.nan for tensor in bad):,} NaN (no numbers), the first in "
            f"{bad[0].name}{_others(bad)}: training cannot repair them; download the model again, or give another one"
        )
    if tensors:
        count = sum(tensor.infinite for tensor in tensors)
        return (
            f"the weights of {folder.name} hold {count:,} infinite numbers, the first in {tensors[0].name}"
            f"{_others(tensors)}; if its answers are not finite, give another model"
        )
    return None


def non_finite(folder: ModelFolder) -> Iterator[NonFinite]:
    """Yield each tensor with NaN or infinite numbers, in the order of the files."""
    for path in folder.weights:
        with path.open("rb", buffering=0) as file:
            for name, tensor in sorted(read_header(path).items(), key=lambda item: item[1].start):
                nan, infinite = _count(file, tensor)
                if nan or infinite:
                    yield NonFinite(name, nan, infinite)


def _count(file: FileIO, tensor: StoredTensor) -> tuple[int, int]:
    """Return how many numbers of the tensor are NaN, and how many are infinite; none for whole numbers."""
    if tensor.dtype not in _EXPONENTS:
        return 0, 0
    integers, exponent = _EXPONENTS[tensor.dtype]
    magnitude = np.array(2 ** (8 * np.dtype(integers).itemsize - 1) - 1, integers)  # All bits but the sign.
    buffer = np.empty(PIECE_BYTES, np.uint8)
    nan = infinite = 0
    file.seek(tensor.start)
    for place in range(tensor.start, tensor.end, PIECE_BYTES):
        size = file.readinto(buffer.data[: min(PIECE_BYTES, tensor.end - place)])
        numbers = buffer[:size].view(integers)
        np.bitwise_and(numbers, magnitude, out=numbers)
        if size and numbers.max() >= exponent:
            nan += int((numbers > exponent).sum())
            infinite += int((numbers == exponent).sum())
    return nan, infinite


def _others(tensors: list[NonFinite]) -> str:
    return f" and {len(tensors) - 1:,} more tensors" if len(tensors) > 1 else ""
