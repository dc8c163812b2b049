"""The stage store: results of stages under a content address, each computed once, shared by trials and studies."""

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
from typing import Any

from autoopt.search.trial.stage_eviction import LEASE, TRAINING, evict, path_of, put_aside
from autoopt.strategies.candidate import Candidate, TaskView
from autoopt.strategies.errors import CorruptArtefact, ModelError
from autoopt.strategies.saving import describe, load_weights, save
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.system import locks
from autoopt.strategies.system.code_digest import code_digest
from autoopt.strategies.training import checkpoints

_LIBRARIES = ("torch", "transformers", "peft", "numpy")


def address(parent: str, step: Strategy, *, effort: float, seed: int) -> str:
    """The content address of ``step`` applied to what is at ``parent``: 40 hexadecimal digits.

    It depends on everything that the result depends on: the step with all its values, its code and the code it
    shares with others, the effort, the seed, and through the parent on the model and the data.
    """
    return digest(
        {
            "parent": parent,
            "strategy": step.name,
            "values": step.model_dump(mode="json"),
            "read": {name: content_of(getattr(step, name)) for name in sorted(step.reads)},
            "code": code_digest(type(step).__module__),
            "effort": effort,
            "seed": seed,
        }
    )


def addresses(steps: Sequence[Strategy], origin: str, *, effort: float, seed: int) -> list[str]:
    """The content address of each step of a recipe whose untouched candidate is at ``origin``."""
    found = []
    for step in steps:
        origin = address(origin, step, effort=effort, seed=seed)
        found.append(origin)
    return found


def content_of(name: str) -> str:
    """Digest of the file or the folder's files of this name; empty where there is neither, as of a name of a hub."""
    path = Path(name)
    if not name or not path.exists():
        return ""
    files = sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(path)} ".encode())
        with file.open("rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()


def origin(*, model: str, data: str, task: TaskView, precision: str) -> str:
    """Return the address of the base candidate: model and data fingerprints, task with its code, library versions.

    ``precision`` is the dtype of training, since weights trained in another one differ.
    """
    return digest(
        {
            "model": model,
            "data": data,
            "task": task.to_json(),
            "code": code_digest(type(task).__module__),
            "libraries": {name: version(name) for name in _LIBRARIES},
            "precision": precision,
        }
    )


def digest(value: Any) -> str:
    """40 hexadecimal digits of the sha256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:40]


@dataclass(frozen=True)
class StageStore:
    """Stored stages in a folder of one machine. An entry is verified whenever it is read."""

    folder: Path
    limit: int | None = None
    """In bytes: beyond it what was used longest ago goes, whenever something is stored."""

    def __contains__(self, where: str) -> bool:
        return self._entry(where).is_dir()

    def load(self, where: str, into: Candidate) -> Candidate | None:
        """Return ``into`` with the stored model and history, or None where there is no sound entry.

        An entry that is not what was written is put aside under another name and counts as absent.
        """
        entry = self._entry(where)
        if not entry.is_dir():
            return None
        try:
            model, edits, history = load_weights(entry)
            os.utime(entry)
        except CorruptArtefact:
            put_aside(entry)
            return None
        except (ModelError, OSError):
            if entry.is_dir():
                raise
            return None  # It was evicted meanwhile.
        return replace(into, model=model, edits=edits, history=history)

    def once(self, where: str, into: Candidate, compute: Callable[[], Candidate]) -> tuple[Candidate, bool]:
        """Return what is stored at ``where``, computed first if need be, and whether it was found.

        One process computes, others that want the same wait for it; where it dies, the next one takes over at once,
        from the last checkpoint of its training.
        """
        with self._lease(where):
            if (stored := self.load(where, into)) is not None:
                return stored, True
            began = time.monotonic()
            with checkpoints.checkpointing(self._entry(where).with_suffix(TRAINING)):
                computed = compute()
                save(computed, self._entry(where), notes={"seconds": time.monotonic() - began})
        if self.limit is not None:
            evict(self.folder, self.limit)
        return computed, False

    def seconds(self, where: str) -> float:
        """What it took to compute what is stored at ``where``; 0 where nothing is."""
        try:
            return float(describe(self._entry(where))["notes"].get("seconds", 0.0))
        except (ModelError, OSError, ValueError):
            return 0.0

    def _entry(self, where: str) -> Path:
        return path_of(self.folder, where)

    def _lease(self, where: str) -> AbstractContextManager[None]:
        return locks.hold(self._entry(where).with_suffix(LEASE))
