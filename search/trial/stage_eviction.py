"""What of the stage store stays: what is in it, what is needed now, and what goes when it grows too large."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from autoopt.strategies.errors import CorruptArtefact, ModelError
from autoopt.strategies.saving import describe, size_bytes, verify
from autoopt.strategies.system import locks
from autoopt.strategies.system.files import write_whole

NEEDED = "needed"
"""The folder of the marks: a file for each process that needs entries, and beside it a lock that it holds."""
LOCK = ".lock"
LEASE, TRAINING, CORRUPT = ".lease", ".training", ".corrupt-"
"""What an entry's name is followed by: its lock, its checkpoints, and where it was put aside."""

Mark: TypeAlias = Callable[[Iterable[str]], None]
"""Called with the addresses that are needed from now on, in place of those before."""


@dataclass(frozen=True)
class Entry:
    """One stored stage."""

    address: str
    path: Path
    size: int
    """In bytes."""
    used: float
    """When it was last read or written, in seconds since the epoch."""

    @property
    def made_by(self) -> str:
        """The history of its model, after the name of what it began with."""
        return " + ".join(describe(self.path)["history"][1:])

    @property
    def seconds(self) -> float:
        """What it took to compute."""
        return float(describe(self.path)["notes"].get("seconds", 0.0))


def path_of(folder: Path, address: str) -> Path:
    """Where the entry of this address is, or would be."""
    return folder / address[:2] / address


def entries(folder: Path) -> list[Entry]:
    """All entries, the one that was used longest ago first."""
    found = []
    for path in folder.glob("??/*"):
        if path.suffix or path.name.startswith(".") or not path.is_dir():
            continue
        try:
            found.append(Entry(path.name, path, size_bytes(path), path.stat().st_mtime))
        except FileNotFoundError:
            continue  # Another process removed it meanwhile.
    return sorted(found, key=lambda entry: entry.used)


@contextmanager
def needed(folder: Path) -> Iterator[Mark]:
    """Keep entries from being evicted for as long as the block runs, or until its process dies."""
    marks = folder / NEEDED
    marks.mkdir(parents=True, exist_ok=True)
    path = marks / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
    with locks.hold(path.with_suffix(LOCK)):
        try:
            yield lambda addresses: write_whole(path, json.dumps(sorted(addresses)))
        finally:
            _remove_mark(path)


def needed_now(folder: Path) -> set[str]:
    """The addresses that living processes need; the marks of dead ones are removed."""
    addresses: set[str] = set()
    for path in (folder / NEEDED).glob("*.json"):
        if locks.is_held(path.with_suffix(LOCK)):
            with contextlib.suppress(FileNotFoundError):  # Its process has just ended.
                addresses |= set(json.loads(path.read_text(encoding="utf-8")))
        else:
            _remove_mark(path)
    return addresses


def _remove_mark(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(LOCK).unlink(missing_ok=True)


def evict(folder: Path, limit: int) -> list[Entry]:
    """Remove entries until all of them take ``limit`` bytes at most, those first that were used longest ago.

    What is needed stays, and so does what is being computed or read under its lease; the limit is then exceeded.
    Returns what was removed.
    """
    present = entries(folder)
    total = sum(entry.size for entry in present)
    if total <= limit:
        return []
    kept, gone = needed_now(folder), []
    for entry in present:
        if total <= limit:
            break
        if entry.address not in kept and remove(entry):
            gone.append(entry)
            total -= entry.size
    return gone


def remove(entry: Entry) -> bool:
    """Remove an entry unless somebody holds its lease; False where it stays."""
    doomed = entry.path.with_name(f".{entry.address}.{uuid.uuid4().hex[:8]}")
    try:
        with locks.hold(entry.path.with_suffix(LEASE), wait=False):
            entry.path.rename(doomed)  # No reader finds half an entry.
            shutil.rmtree(doomed, ignore_errors=True)
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


def check(folder: Path) -> list[Entry]:
    """Verify every entry, put those aside that are not what was written, and return these."""
    broken = []
    for entry in entries(folder):
        try:
            verify(entry.path)
        except (CorruptArtefact, ModelError):
            put_aside(entry.path)
            broken.append(entry)
    return broken


def put_aside(path: Path) -> None:
    """Give a broken entry another name, under which nobody finds it."""
    if path.is_dir():
        path.rename(path.with_name(f"{path.name}{CORRUPT}{time.time_ns()}"))


def leftovers(folder: Path, *, needed: Collection[str] = ()) -> list[Path]:
    """Broken entries that were put aside, and what was cut off: checkpoints nobody goes on from, half-written files.

    Checkpoints of what is ``needed``, or is being computed, are none.
    """
    return [path for path in sorted(folder.glob("??/*")) if _is_left_over(path, needed)]


def _is_left_over(path: Path, needed: Collection[str]) -> bool:
    if path.suffix == TRAINING:
        return path.stem not in needed and not locks.is_held(path.with_suffix(LEASE))
    return CORRUPT in path.name or path.name.startswith(".")
