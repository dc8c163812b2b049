"""The lock that lets one driver at a time search a study; it is freed when its holder dies."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoopt.search.identity.owner import Holder, describe_holder, locked_message
from autoopt.search.identity.server_lock import is_server_with_locks, server_lock
from autoopt.strategies.errors import StudyLocked
from autoopt.strategies.system import locks
from autoopt.strategies.system.files import write_whole

NAMING_PATIENCE_S = 2.0
_SQLITE = "sqlite:///"


@contextmanager
def study_lock(path: Path, *, study: str = "", url: str | None = None) -> Iterator[Holder]:
    """Hold the lock of a study and yield its holder; raises ``StudyLocked``, which names it, if another process does.

    ``path`` is the lock file in the study's folder. A database elsewhere at ``url`` may be used from several folders,
    and is locked too: by the server where it is PostgreSQL, by a file beside it where it is SQLite.
    """
    holder = Holder.here()
    with contextlib.ExitStack() as stack:
        for file in (path, *_files_beside(url, study)):
            stack.enter_context(_file_lock(file, holder))
        if url is not None and is_server_with_locks(url):
            stack.enter_context(server_lock(url, study, holder))
        yield holder


def lock_holder(path: Path) -> str | None:
    """Return a description of the process that holds the lock file; None if nobody does."""
    return _describe_holder(path) if locks.is_held(path) else None


@contextmanager
def _file_lock(path: Path, holder: Holder) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.hold(path, wait=False))
        except BlockingIOError:
            raise StudyLocked(locked_message(_describe_holder(path))) from None
        write_whole(_about(path), json.dumps(holder.to_json()))
        yield


def _files_beside(url: str | None, study: str) -> list[Path]:
    if url is None or not url.startswith(_SQLITE):
        return []
    database = Path(url.removeprefix(_SQLITE).partition("?")[0])
    return [database.with_name(f"{database.name}.{study}.lock")]


def _describe_holder(path: Path) -> str:
    """Describe the holder; one that has just taken the lock is given a moment to write who it is."""
    given_up_at = time.monotonic() + NAMING_PATIENCE_S
    while True:
        try:
            fields = json.loads(_about(path).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            fields = None
        if fields is not None and not _is_gone(fields):
            return describe_holder(fields)
        if time.monotonic() >= given_up_at:
            return describe_holder(None)
        time.sleep(0.05)


def _is_gone(fields: Any) -> bool:
    """Whether it describes a process of this machine that has ended, which held the lock before."""
    try:
        if fields["host"] == socket.gethostname():
            os.kill(int(fields["process"]), 0)
    except ProcessLookupError:
        return True
    except (KeyError, TypeError, ValueError, OSError):
        return False
    return False


def _about(path: Path) -> Path:
    """Return the file that describes the holder; only the lock says whether it still runs."""
    return path.with_name(f"{path.name}.json")
