"""Eviction from the stage store: list entries, pin those in use, remove the least recently used."""

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

PINS = "needed"
"""Folder with one file of addresses per process that uses entries; the process holds the lock file beside it."""
LOCK = ".lock"
LEASE, TRAINING, CORRUPT = ".lease", ".training", ".corrupt-"
"""Suffixes of an entry's lock, of its checkpoints, and of a damaged entry."""

Pin: TypeAlias = Callable[[Iterable[str]], None]
"""Called with the addresses to pin, in place of those pinned before."""


@dataclass(frozen=True)
class Entry:
    """One stored stage."""

    address: str
    path: Path
    size: int
    """Bytes."""
    used: float
    """Time of the last read or write, in seconds since the epoch."""

    @property
    def made_by(self) -> str:
        """History of its model, without the base model."""
        return " + ".join(describe(self.path)["history"][1:])

    @property
    def seconds(self) -> float:
        """Seconds it took to compute."""
        return float(describe(self.path)["notes"].get("seconds", 0.0))


def entry_path(folder: Path, address: str) -> Path:
    """Return the path of the entry at this address, whether it exists or not."""
    return folder / address[:2] / address


def entries(folder: Path) -> list[Entry]:
    """Return all entries, the least recently used first."""
    present = []
    for path in folder.glob("??/*"):
        if path.suffix or path.name.startswith(".") or not path.is_dir():
            continue
        try:
            present.append(Entry(path.name, path, size_bytes(path), path.stat().st_mtime))
        except FileNotFoundError:
            continue  # Another process has removed it.
    return sorted(present, key=lambda entry: entry.used)


@contextmanager
def pinning(folder: Path) -> Iterator[Pin]:
    """Protect entries from eviction within the block, or until the process dies."""
    pins = folder / PINS
    pins.mkdir(parents=True, exist_ok=True)
    path = pins / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.json"
    with locks.hold(path.with_suffix(LOCK)):
        try:
            yield lambda addresses: write_whole(path, json.dumps(sorted(addresses)))
        finally:
            _remove_pin(path)


def pinned_addresses(folder: Path) -> set[str]:
    """Return the addresses pinned by running processes; files of dead ones are removed."""
    addresses: set[str] = set()
    for path in (folder / PINS).glob("*.json"):
        if locks.is_held(path.with_suffix(LOCK)):
            with contextlib.suppress(FileNotFoundError, ValueError):  # The process has just ended, or it is damaged.
                addresses |= set(json.loads(path.read_text(encoding="utf-8")))
        else:
            _remove_pin(path)
    return addresses


def _remove_pin(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(LOCK).unlink(missing_ok=True)


def evict(folder: Path, limit: int) -> list[Entry]:
    """Remove the least recently used entries until the rest take at most ``limit`` bytes; return those removed.

    Pinned entries and entries whose lease is held stay, even if the limit is then exceeded.
    """
    present = entries(folder)
    total = sum(entry.size for entry in present)
    if total <= limit:
        return []
    pinned, removed = pinned_addresses(folder), []
    for entry in present:
        if total <= limit:
            break
        if entry.address not in pinned and remove(entry):
            removed.append(entry)
            total -= entry.size
    return removed


def remove(entry: Entry) -> bool:
    """Remove an entry and return True, unless its lease is held."""
    doomed = entry.path.with_name(f".{entry.address}.{uuid.uuid4().hex[:8]}")
    try:
        with locks.hold(entry.path.with_suffix(LEASE), wait=False):
            entry.path.rename(doomed)  # So that no reader finds half an entry.
            shutil.rmtree(doomed, ignore_errors=True)
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


def check(folder: Path) -> list[Entry]:
    """Verify every entry, quarantine the damaged ones and return them."""
    damaged = []
    for entry in entries(folder):
        try:
            verify(entry.path)
        except (CorruptArtefact, ModelError):
            quarantine(entry.path)
            damaged.append(entry)
    return damaged


def quarantine(path: Path) -> None:
    """Rename a damaged entry so that it counts as absent."""
    if path.is_dir():
        path.rename(path.with_name(f"{path.name}{CORRUPT}{time.time_ns()}"))


def leftovers(folder: Path, *, pinned: Collection[str] = ()) -> list[Path]:
    """Return quarantined entries, half-written files, and checkpoints that are neither ``pinned`` nor in use."""
    return [path for path in sorted(folder.glob("??/*")) if _is_left_over(path, pinned)]


def _is_left_over(path: Path, pinned: Collection[str]) -> bool:
    if path.suffix == TRAINING:
        return path.stem not in pinned and not locks.is_held(path.with_suffix(LEASE))
    return CORRUPT in path.name or path.name.startswith(".")
