"""The header of a safetensors file: names, types, shapes and places of its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.objectives.models.json_file import check_no_pointer
from autoopt.strategies.errors import ModelError

MAX_HEADER_BYTES = 100_000_000
_LENGTH_BYTES = 8
"""Size of the number before the header."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the header describes it."""

    dtype: str
    """As safetensors names it: ``F32``, ``BF16``."""
    shape: tuple[int, ...]
    start: int
    """Place of its first byte in the file."""
    end: int


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors by name. Raises ``ModelError`` unless the file is whole."""
    check_no_pointer(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = file.read(length) if 2 <= length <= min(MAX_HEADER_BYTES, size - _LENGTH_BYTES) else b""
    try:
        entries = json.loads(header) if header.startswith(b"{") else None
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, dict):
        raise ModelError(f"{path} is not a safetensors file; download it again or convert it")
    try:
        tensors = _tensors(entries, _LENGTH_BYTES + length)
        is_whole = max((tensor.end for tensor in tensors.values()), default=_LENGTH_BYTES + length) == size
    except (KeyError, ValueError, TypeError):
        is_whole = False
    if not is_whole:
        raise ModelError(f"{path} is cut short or damaged: its header describes another size; download it again")
    return tensors


def _tensors(entries: Mapping[str, Any], first: int) -> dict[str, StoredTensor]:
    tensors = {}
    for name, entry in entries.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            shape = tuple(int(size) for size in entry["shape"])
            tensors[name] = StoredTensor(str(entry["dtype"]), shape, first + int(start), first + int(end))
    return tensors
