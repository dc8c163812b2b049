"""Locks between processes of one machine, freed by the kernel when their holder dies.

``hold`` and ``is_held`` are for one holder at a time and use the ``filelock`` package. ``SharedLock`` calls ``flock``
itself: filelock's ``ReadWriteLock`` is an SQLite database, 100 times slower (180 us to acquire), and it is acquired at
each step of training. This is the only module that imports either.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

PassOver: TypeAlias = Callable[[float], bool]
"""Called with the seconds that a process has waited for a lock; returns whether it goes on without the lock."""

POLL_S = 0.1
"""Longest time between two attempts of a process that waits for a lock."""
SHORTEST_POLL_S = 0.002
MOST_OF_A_COMMAND = 80


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
    """A lock that many hold together with ``shared``, or one alone with ``exclusive``.

    While a caller waits, ``pass_over`` is called again and again with the seconds it has waited; the block runs without
    the lock once that returns True. Both raise ``OSError`` if the file belongs to another user.
    """

    path: Path

    @contextmanager
    def shared(self, pass_over: PassOver = lambda _: False) -> Iterator[None]:
        """Wait until nobody holds it exclusively, and share it within the block."""
        with self._flock(fcntl.LOCK_SH, pass_over):
            yield

    @contextmanager
    def exclusive(self, pass_over: PassOver = lambda _: False) -> Iterator[None]:
        """Wait until nobody holds it, and hold it alone within the block."""
        with self._flock(fcntl.LOCK_EX, pass_over):
            yield

    def holders(self) -> list[int]:
        """Return the ids of the processes that hold it; empty if there are none, or if the system does not tell."""
        try:
            inode = self.path.stat().st_ino
            lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        except OSError:
            return []
        # 1: FLOCK  ADVISORY  WRITE 11867 fe:00:6094943 0 EOF; a line with an arrow is of a process that waits.
        fields = [line.split() for line in lines if "->" not in line]
        return [int(field[4]) for field in fields if field[1] == "FLOCK" and field[5].split(":")[-1] == str(inode)]

    @contextmanager
    def _flock(self, operation: int, pass_over: PassOver) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        try:
            started_at, pause_s = time.monotonic(), SHORTEST_POLL_S
            while not _locks(descriptor, operation) and not pass_over(time.monotonic() - started_at):
                time.sleep(pause_s)
                pause_s = min(POLL_S, 1.5 * pause_s)
            yield
        finally:
            os.close(descriptor)


def _locks(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def describe_process(pid: int) -> str:
    """Return the id and the command of a process."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        words = []
    command = b" ".join(words).decode(errors="replace").strip()[:MOST_OF_A_COMMAND]
    return f"process {pid} ({command})" if command else f"process {pid}"


def stands_still(pid: int) -> bool:
    """Whether a process is stopped, as by Ctrl-Z, or dead; False if the system does not tell."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return Path("/proc/self/stat").exists()
    except OSError:
        return False
    return state in ("T", "t", "Z", "X")
