"""The stage store: results of stages by content address, computed once and shared by trials and studies."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from autoopt.search.trial.stage_eviction import LEASE, TRAINING, entry_path, evict, quarantine
from autoopt.strategies.candidate import Candidate, TaskView
from autoopt.strategies.errors import CorruptArtefact, ModelError
from autoopt.strategies.saving import MANIFEST, describe, load_weights, save
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.system import locks
from autoopt.strategies.system.code_digest import code_digest
from autoopt.strategies.system.failpoints import failpoint
from autoopt.strategies.training import checkpoints

_LIBRARIES = ("torch", "transformers", "peft", "numpy")
OriginOf: TypeAlias = Callable[[str], str]
MONITOR = "autoopt.objectives.monitor"
"""Module of the scores that decide which weights of a training are kept."""


def address(parent: str, step: Strategy, *, effort: float, seed: int, origin_of: OriginOf = str) -> str:
    """Return the content address of ``step`` applied to the result at ``parent``: 40 hexadecimal digits.

    It covers the step's values, its code with all that it imports, the files it reads, the other base model that it
    names, effort and seed; and through ``parent`` the model, the data and the task.
    """
    other = getattr(step, step.other_base) if step.other_base else ""
    return digest(
        {
            "parent": parent,
            "strategy": step.name,
            "values": step.model_dump(mode="json"),
            "read": {name: content_digest(getattr(step, name)) for name in sorted(step.reads)},
            "code": code_digest(type(step).__module__),
            "effort": effort,
            "seed": seed,
            **({"other": origin_of(other)} if other else {}),
        }
    )


def addresses(
    steps: Sequence[Strategy], origin: str, *, effort: float, seed: int, origin_of: OriginOf = str
) -> list[str]:
    """Return the content address after each step of a recipe whose base candidate is at ``origin``.

    ``origin_of`` returns the address of another base candidate by its label.
    """
    result = []
    for step in steps:
        origin = address(origin, step, effort=effort, seed=seed, origin_of=origin_of)
        result.append(origin)
    return result


def content_digest(name: str) -> str:
    """Return a digest of a file, or of all files in a folder; empty if ``name`` is neither, such as a name on a hub."""
    path = Path(name)
    if not name or not path.exists():
        return ""
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(path)} ".encode())
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()


def origin(*, model: str, data: str, task: TaskView, precision: str) -> str:
    """Return the address of the base candidate: model and data fingerprints, task with its code, library versions.

    ``data`` covers the validation split and ``code`` the monitor, since these decide which weights of a training are
    kept. ``precision`` is the dtype of training, since weights trained in another one differ.
    """
    return digest(
        {
            "model": model,
            "data": data,
            "task": task.to_json(),
            "code": code_digest(type(task).__module__, MONITOR),
            "libraries": {name: version(name) for name in _LIBRARIES},
            "precision": precision,
        }
    )


def digest(value: Any) -> str:
    """Return 40 hexadecimal digits of the sha256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:40]


@dataclass(frozen=True)
class StageStore:
    """Results of stages in a folder of one machine. An entry is verified whenever it is read."""

    folder: Path
    limit: int | None = None
    """Bytes, enforced by evicting the least recently used entries after each write; None for no limit."""

    def __contains__(self, address: str) -> bool:
        return self._entry(address).is_dir()

    def load(self, address: str, into: Candidate) -> Candidate | None:
        """Return ``into`` with the stored model and history; None if there is no intact entry.

        A damaged entry is quarantined.
        """
        entry = self._entry(address)
        if not entry.is_dir():
            return None
        try:
            if entry.is_dir() and not (entry / MANIFEST).is_file():
                raise CorruptArtefact(f"{entry} has no digests of its files")
            model, edits, history = load_weights(entry)
            os.utime(entry)
        except CorruptArtefact:
            quarantine(entry)
            return None
        except (ModelError, OSError):
            if entry.is_dir():
                raise
            return None  # It has just been evicted.
        return replace(into, model=model, edits=edits, history=history)

    def get_or_compute(self, address: str, into: Candidate, compute: Callable[[], Candidate]) -> tuple[Candidate, bool]:
        """Return the result at ``address``, computed if absent, and whether it came from the store.

        Only one process computes it and others wait. If that one dies, the next resumes from its last checkpoint.
        """
        with self._lease(address):
            if (stored := self.load(address, into)) is not None:
                return stored, True
            started = time.monotonic()
            with checkpoints.checkpointing(self._entry(address).with_suffix(TRAINING)):
                computed = compute()
                save(computed, self._entry(address), notes={"seconds": time.monotonic() - started})
                failpoint("after-stage")
        if self.limit is not None:
            evict(self.folder, self.limit)
        return computed, False

    def compute_seconds(self, address: str) -> float:
        """Return the seconds it took to compute the entry at ``address``; 0 if there is none."""
        try:
            return float(describe(self._entry(address))["notes"].get("seconds", 0.0))
        except (ModelError, OSError, ValueError):
            return 0.0

    def _entry(self, address: str) -> Path:
        return entry_path(self.folder, address)

    def _lease(self, address: str) -> AbstractContextManager[None]:
        return locks.hold(self._entry(address).with_suffix(LEASE))
