"""One driver for each study: a lock that the kernel frees when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoopt.strategies.errors import StudyLocked


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the study; raises ``StudyLocked`` with the holder where another process does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StudyLocked(
                f"this study is being searched by {_holder(path)}; wait for it, or end it, then run the same command"
            ) from None
        os.truncate(descriptor, 0)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        about = {"process": os.getpid(), "host": socket.gethostname(), "since": started}
        os.pwrite(descriptor, json.dumps(about).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def holder(path: Path) -> str | None:
    """Who holds the study now, None where nobody does."""
    if not path.is_file():
        return None
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(path)
    return None


def _holder(path: Path) -> str:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return f"process {about['process']} on {about['host']} since {about['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"
