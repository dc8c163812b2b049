"""One driver for each study: a lock that the kernel frees when its holder dies."""

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
def exclusive(path: Path) -> Iterator[None]:
    """Hold the study; raises ``StudyLocked`` with the holder where another process does."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.hold(path, wait=False))
        except BlockingIOError:
            raise StudyLocked(
                f"this study is being searched by {_holder(path)}; wait for it, or end it, then run the same command"
            ) from None
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        about = {"process": os.getpid(), "host": socket.gethostname(), "since": started}
        write_whole(_about(path), json.dumps(about))
        yield


def holder(path: Path) -> str | None:
    """Who holds the study now, None where nobody does."""
    return _holder(path) if locks.is_held(path) else None


def _holder(path: Path) -> str:
    try:
        about = json.loads(_about(path).read_text(encoding="utf-8"))
        return f"process {about['process']} on {about['host']} since {about['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"


def _about(path: Path) -> Path:
    """Return the file that describes the holder; only the lock says whether it still runs."""
    return path.with_name(f"{path.name}.json")
