"""What a worker does with one trial: run it, and leave the result on disk whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from autoopt.search.paths import StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import State, TrialRecord
from autoopt.search.trial.run import Report, run_trial
from autoopt.search.trial.rungs import Judge
from autoopt.search.trial.workspace import Workspace
from autoopt.strategies.system.files import write_whole


@dataclass(frozen=True)
class Assignment:
    """One trial to run. ``screened`` is False for the baseline, which is run whatever it costs."""

    number: int
    recipe: Recipe
    screened: bool = True

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "recipe": self.recipe.to_json(), "screened": self.screened}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Assignment:
        return cls(fields["number"], Recipe.from_json(fields["recipe"]), fields["screened"])


def execute(assignment: Assignment, folder: StudyFolder, report: Report, judge: Judge | None = None) -> TrialRecord:
    """Run the trial in this process and write its record, unless a record is there already.

    Nothing is raised for a trial that fails: its record says why, and ``error.txt`` beside it has the traceback. What
    ``judge`` raises to stop a trial must not be an ``Exception``.
    """
    if found := result_of(assignment.number, assignment.recipe, folder):
        return found
    result = folder.result(assignment.number)
    shutil.rmtree(result.parent, ignore_errors=True)
    result.parent.mkdir(parents=True, exist_ok=True)

    def run() -> TrialRecord:
        workspace = _workspace(folder.path)
        return run_trial(
            assignment.number,
            assignment.recipe,
            workspace,
            folder=folder.model(assignment.number),
            report=report,
            judge=judge if workspace.experiment.search.scheduler == "halving" else None,
            screened=assignment.screened,
        )

    try:
        record = attempt(assignment.number, assignment.recipe, run, trace=result.parent / "error.txt")
    finally:
        _give_back_memory()
    write_record(record, result)
    return record


def result_of(number: int, recipe: Recipe, folder: StudyFolder) -> TrialRecord | None:
    """What a worker left of this trial, if anything.

    A result of another recipe is none: after a power cut the database may give a number that it had given before.
    """
    path = folder.result(number)
    record = read_record(path) if path.is_file() else None
    return record if record and record.recipe.id == recipe.id else None


def attempt(number: int, recipe: Recipe, run: Callable[[], TrialRecord], *, trace: Path) -> TrialRecord:
    """Return what ``run`` returns, or a failed record; the traceback is then in the file ``trace``."""
    started = time.monotonic()
    try:
        return run()
    except Exception as error:  # noqa: BLE001  The one place where any failure of a trial becomes a record.
        trace.write_text(traceback.format_exc(), encoding="utf-8")
        return TrialRecord(number, recipe, State.FAILED, seconds=time.monotonic() - started, reason=_reason(error))


def write_record(record: TrialRecord, path: Path) -> None:
    """Write the record whole or not at all, and on the disk before this returns."""
    write_whole(path, json.dumps(record.to_json()))


def read_record(path: Path) -> TrialRecord:
    """Read back what ``write_record`` wrote."""
    return TrialRecord.from_json(json.loads(path.read_text(encoding="utf-8")))


def finite(record: TrialRecord) -> TrialRecord:
    """The record itself, or a failed one where a measurement is not a finite number."""
    import math

    odd = [name for name, measured in record.measurements.items() if not math.isfinite(measured.value)]
    if record.state is not State.COMPLETE or not odd:
        return record
    return replace(record, state=State.FAILED, measurements={}, reason=f"not a finite number: {', '.join(odd)}")


def _give_back_memory() -> None:
    """Let the next trial of this worker begin with as much memory as the first one had.

    Models and optimizers are in cycles of references, which may wait long to be found. What they took stays with the
    allocator of the C library, in pieces: without ``malloc_trim`` a worker grows by some 0.5 GB with each trial.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # Only glibc has it.
        ctypes.CDLL(None).malloc_trim(0)


@lru_cache(maxsize=1)
def _workspace(path: Path) -> Workspace:
    """Kept warm over all trials that this process runs."""
    return Workspace.open(StudyFolder(path))


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
