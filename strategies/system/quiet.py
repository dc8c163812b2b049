"""Quiet for measurements: work pauses between its steps while something on this machine is being timed.

Two locks of the kernel in the machine's folder for temporary files, one pair for each user. A worker holds the gate
shared for the length of one step; a measurement holds it alone. A measurement that waits also holds the turnstile, so
that no new step begins and it is not starved. The kernel frees the locks of a process that dies, so nobody is ever
blocked by a dead holder.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _path(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"autoopt-{os.getuid()}.{name}"


@contextmanager
def _lock(name: str, operation: int) -> Iterator[None]:
    descriptor = os.open(_path(name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def step() -> Iterator[None]:
    """Hold around one step of work that would disturb a measurement; waits while one is under way."""
    with _lock("turnstile", fcntl.LOCK_SH):
        pass
    with _lock("gate", fcntl.LOCK_SH):
        yield


@contextmanager
def measuring() -> Iterator[None]:
    """Hold around a measurement: alone on this machine, with all steps of work paused."""
    with _lock("turnstile", fcntl.LOCK_EX), _lock("gate", fcntl.LOCK_EX):
        yield
