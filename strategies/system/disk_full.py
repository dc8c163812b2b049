"""Recognize errors of a full disk, whichever library raised them."""

from __future__ import annotations

import errno
from collections.abc import Iterator

_MESSAGES = ("no space left on device", "database or disk is full", "os error 28", "disk quota exceeded")
_NUMBERS = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk is the cause of the error."""
    return any(
        (isinstance(cause, OSError) and cause.errno in _NUMBERS)
        or any(message in str(cause).lower() for message in _MESSAGES)
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
