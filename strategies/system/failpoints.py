"""Failpoints: places between two commits where tests end or stop the process. They do nothing unless a test asks.

``AUTOOPT_FAILPOINT=NAME:ACTION:MARKER`` acts the first time that any process comes to the point: it creates the file
``MARKER`` and then kills itself (``kill``), raises (``raise``) or sleeps (``hang``). ``AUTOOPT_LEDGER=FILE`` makes each
trial write down when it begins and ends, as a witness that does not depend on the study's database.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

FAILPOINT, LEDGER = "AUTOOPT_FAILPOINT", "AUTOOPT_LEDGER"
NAMES = (
    *("after-propose", "before-record", "after-record", "before-tell", "in-tell", "after-tell"),
    *("after-stage", "in-write", "after-mlflow-run", "after-mlflow-trial"),
    *("before-front", "after-front", "after-upload", "after-version", "before-alias"),
)


def failpoint(name: str) -> None:
    """Act if a test asks for it here."""
    point, action, marker = (os.environ.get(FAILPOINT, "") + "::").split(":")[:3]
    if point != name:
        return
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "hang":
        time.sleep(3600)
    raise OSError(f"the failpoint {name}")


def witness(event: str, number: int, recipe_id: str) -> None:
    """Append a line to the ledger and sync it, if a test keeps one."""
    path = os.environ.get(LEDGER)
    if path is None:
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{event} {number} {recipe_id} {os.getpid()}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
