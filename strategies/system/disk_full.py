"""Recognize errors of a full disk, whichever library raised them."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

_MESSAGES = ("no space left on device", "database or disk is full", "os error 28", "disk quota exceeded")
LEAST_FREE_BYTES = 1_000_000
_NUMBERS = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk is the cause of the error."""
    return any(
        (isinstance(cause, OSError) and cause.errno in _NUMBERS) or mentions_disk_full(str(cause))
        for cause in _causes(error)
    )


def mentions_disk_full(text: str) -> bool:
    """Whether a message is one that libraries give when the disk is full."""
    return any(message in text.lower() for message in _MESSAGES)


def is_full(folder: Path) -> bool:
    """Whether almost nothing more can be written to the disk of ``folder``."""
    return shutil.disk_usage(folder).free < LEAST_FREE_BYTES


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
