"""JSON files of a model, of limited size and checked to be the files themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autoopt.strategies.errors import ModelError

MAX_JSON_BYTES = 50_000_000

_POINTER = b"version https://git-lfs"


def read_json(path: Path, *, kind: type[Any] = dict) -> Any:
    """Return the object, or the list if ``kind`` is ``list``, of a file. Raises ``ModelError`` for anything else."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ModelError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_JSON_BYTES:,} are read")
    check_no_pointer(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {error}; download the model again") from None
    if not isinstance(content, kind):
        expected = "list" if kind is list else "object"
        raise ModelError(f"{path} does not hold a JSON {expected}; download the model again")
    return content


def check_no_pointer(path: Path) -> None:
    """Raise ``ModelError`` if the file is a pointer of Git LFS."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise ModelError(f"{path} is a Git LFS pointer, not the file itself; run 'git lfs pull' in its folder")
