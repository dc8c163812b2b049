"""Locks between processes of one machine, freed by the kernel when their holder dies.

``hold`` and ``is_held`` are for one holder at a time and use the ``filelock`` package. ``SharedLock`` calls ``flock``
itself: filelock's ``ReadWriteLock`` is an SQLite database, 100 times slower (180 us to acquire), and it is acquired at
each step of training. This is the only module that imports either.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.1
"""Time between two attempts of a process that waits for a lock."""


@contextmanager
def hold(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock file at ``path``; the file stays.

    Raises ``BlockingIOError`` if it is held, by this process or another, and ``wait`` is False.
    """
    from filelock import FileLock, Timeout  # 50 ms, which the command line would pay at each start.

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=wait, poll_interval=POLL_S)
    except Timeout:
        raise BlockingIOError(f"{path} is locked") from None
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether the lock file at ``path`` is held; False if there is none."""
    if not path.is_file():
        return False
    try:
        with hold(path, wait=False):
            return False
    except BlockingIOError:
        return True


@dataclass(frozen=True)
class SharedLock:
    """A lock that many hold together with ``shared``, or one alone with ``exclusive``."""

    path: Path

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Wait until nobody holds it exclusively, and share it within the block."""
        with self._flock(fcntl.LOCK_SH):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until nobody holds it, and hold it alone within the block."""
        with self._flock(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _flock(self, operation: int) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(descriptor, operation)
            yield
        finally:
            os.close(descriptor)
