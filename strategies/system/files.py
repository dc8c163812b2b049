"""Atomic writes: a file or a folder is replaced as a whole, and is on the disk before the call returns.

What is written has the permissions that the umask gives any new file, whoever wrote its content: safetensors and
``tempfile`` would keep it for the owner alone, and a server of another account could not read a model.

A reader sees the old content or the new, also after a power cut. Work in progress is hidden beside the target under
``.NAME.<random>``; only a killed process leaves it behind.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autoopt.strategies.system import locks
from autoopt.strategies.system.failpoints import failpoint

_STATUS = Path("/proc/self/status")
_in_progress: set[Path] = set()
"""What is being written. A process may end while one of its threads writes."""


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace the file at ``path``; text is written as UTF-8. Missing parent folders are created."""
    with whole_file(path) as work:
        work.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; the file there replaces ``path`` when the block ends, and is removed on an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _work_in_progress(path) as work:
        yield work
        _permit_as_new(work)
        _sync(work)
        failpoint("in-write")
        work.replace(path)
        _sync_folder(path.parent)


def create_once(path: Path, create: Callable[[Path], None]) -> None:
    """Let ``create`` write the file at ``path`` as a whole, unless it exists; of several processes one does."""
    if path.is_file():
        return
    with locks.hold(path.with_name(f"{path.name}.lock")):
        if not path.is_file():
            remove_unfinished(path.parent, path.name)
            with whole_file(path) as work:
                create(work)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write to; it replaces ``folder`` when the block ends, and is removed on an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _work_in_progress(folder) as work:
        work.mkdir()
        yield work
        install_folder(work, folder)


def install_folder(work: Path, folder: Path) -> None:
    """Move the finished folder ``work`` to ``folder`` on the same file system, in place of what is there."""
    for path in work.rglob("*"):
        _permit_as_new(path)
        _sync_folder(path) if path.is_dir() else _sync(path)
    _permit_as_new(work)
    _sync_folder(work)
    replaced = _work_path(folder)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(replaced)
    work.rename(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def _work_in_progress(path: Path) -> Iterator[Path]:
    """Yield where to write what will be at ``path``; it is removed on an error, or if the process ends meanwhile."""
    work = _work_path(path)
    _in_progress.add(work)
    try:
        yield work
    except BaseException:
        _remove(work)
        raise
    finally:
        _in_progress.discard(work)


@atexit.register
def _remove_work_in_progress() -> None:
    for work in list(_in_progress):
        _remove(work)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _work_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")


def _permit_as_new(path: Path) -> None:
    """Give a file or folder the permissions that it would have if it were made now by ``open`` or ``mkdir``."""
    if path.is_symlink():
        return
    wanted = (0o777 if path.is_dir() else 0o666) & ~_umask()
    if stat.S_IMODE(path.stat().st_mode) != wanted:
        with contextlib.suppress(PermissionError):  # Some file systems have no permissions.
            path.chmod(wanted)


def _umask() -> int:
    """Return the umask of the process. Asking the system for it would set it for a moment, for other threads too."""
    try:
        status = _STATUS.read_text(encoding="ascii", errors="replace")
        return int(status.partition("\nUmask:")[2].split()[0], 8)
    except (OSError, IndexError, ValueError):
        before = os.umask(0o077)
        os.umask(before)
        return before


def remove_unfinished(folder: Path, name: str = "*") -> None:
    """Remove what killed processes have left of writing ``name`` in the folder, or below it if it is ``*``.

    Nobody may be writing there.
    """
    paths = folder.rglob(".*") if name == "*" else folder.glob(f".{name}.*")
    for path in list(paths):
        if re.fullmatch(r"\..+\.[0-9a-f]{8}", path.name):
            _remove(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Some network file systems cannot sync a folder.
        _sync(folder)
