"""The lock that lets one driver at a time search a study; the kernel frees it when its holder dies."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoopt.strategies.errors import StudyLocked
from autoopt.strategies.system import locks
from autoopt.strategies.system.files import write_whole


@contextmanager
def study_lock(path: Path) -> Iterator[None]:
    """Hold the lock; raises ``StudyLocked``, which names the holder, if another process does."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.hold(path, wait=False))
        except BlockingIOError:
            raise StudyLocked(
                f"this study is being searched by {_describe_holder(path)}; wait for it, or end it, "
                "then run the same command"
            ) from None
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        about = {"process": os.getpid(), "host": socket.gethostname(), "since": started}
        write_whole(_about(path), json.dumps(about))
        yield


def lock_holder(path: Path) -> str | None:
    """Return a description of the process that holds the lock; None if nobody does."""
    return _describe_holder(path) if locks.is_held(path) else None


def _describe_holder(path: Path) -> str:
    try:
        about = json.loads(_about(path).read_text(encoding="utf-8"))
        return f"process {about['process']} on {about['host']} since {about['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"


def _about(path: Path) -> Path:
    """Return the file that describes the holder; only the lock says whether it still runs."""
    return path.with_name(f"{path.name}.json")
