"""Atomic writes: a file or a folder is replaced as a whole, and is on the disk before the call returns.

A reader sees the old content or the new, also after a power cut. Work in progress is hidden beside the target under
``.NAME.<random>``; only a killed process leaves it behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace the file at ``path``; text is written as UTF-8. Missing parent folders are created."""
    with whole_file(path) as work:
        work.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; the file there replaces ``path`` when the block ends, and is removed on an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = _work_path(path)
    try:
        yield work
        _sync(work)
        work.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write to; it replaces ``folder`` when the block ends, and is removed on an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = _work_path(folder)
    work.mkdir()
    try:
        yield work
        install_folder(work, folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def install_folder(work: Path, folder: Path) -> None:
    """Move the finished folder ``work`` to ``folder`` on the same file system, in place of what is there."""
    for path in work.rglob("*"):
        _sync_folder(path) if path.is_dir() else _sync(path)
    _sync_folder(work)
    replaced = _work_path(folder)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(replaced)
    work.rename(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _work_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Some network file systems cannot sync a folder.
        _sync(folder)
