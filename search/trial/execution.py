"""Run one trial in a worker and write its record, also if it fails."""

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
from autoopt.strategies.errors import DiskFull
from autoopt.strategies.system import measurement_gate
from autoopt.strategies.system.disk_full import is_disk_full
from autoopt.strategies.system.failpoints import failpoint, witness
from autoopt.strategies.system.files import write_whole


@dataclass(frozen=True)
class Assignment:
    """One trial to run. ``screened`` is False for the baseline, which runs whatever it costs."""

    number: int
    recipe: Recipe
    screened: bool = True

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "recipe": self.recipe.to_json(), "screened": self.screened}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Assignment:
        return cls(fields["number"], Recipe.from_json(fields["recipe"]), fields["screened"])


def execute(assignment: Assignment, folder: StudyFolder, report: Report, judge: Judge | None = None) -> TrialRecord:
    """Run the trial in this process and write its record; return the existing record if there is one.

    A trial that fails raises nothing: its record holds the reason, and ``error.txt`` beside it the traceback. To stop a
    trial, ``judge`` must raise something that is not an ``Exception``. Raises ``DiskFull``, which is no result: nothing
    of the trial is left then.
    """
    try:
        return _execute(assignment, folder, report, judge)
    except Exception as error:
        if not is_disk_full(error):
            raise
        shutil.rmtree(folder.trial(assignment.number), ignore_errors=True)
        raise DiskFull(
            f"no space is left for the trials in {folder.path} or for stored stages; free some, for instance with "
            "'autoopt cache clear'"
        ) from error


def _execute(assignment: Assignment, folder: StudyFolder, report: Report, judge: Judge | None) -> TrialRecord:
    if existing := load_result(assignment.number, assignment.recipe, folder):
        return existing
    witness("begin", assignment.number, assignment.recipe.id)
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
        with measurement_gate.telling(report):
            record = run_or_record_failure(assignment.number, assignment.recipe, run, trace=result.parent / "error.txt")
    finally:
        _release_memory()
    failpoint("before-record")
    write_record(record, result)
    witness("end", assignment.number, assignment.recipe.id)
    failpoint("after-record")
    return record


def load_result(number: int, recipe: Recipe, folder: StudyFolder) -> TrialRecord | None:
    """Return the record that a worker wrote for this trial; None if there is none or it is of another recipe.

    After a power cut the database may assign a number for the second time.
    """
    path = folder.result(number)
    record = read_record(path) if path.is_file() else None
    return record if record and record.recipe.id == recipe.id else None


def run_or_record_failure(number: int, recipe: Recipe, run: Callable[[], TrialRecord], *, trace: Path) -> TrialRecord:
    """Return what ``run`` returns, or a failed record after writing the traceback to ``trace``."""
    started = time.monotonic()
    try:
        return run()
    except Exception as error:  # The only place where a failure becomes a record.
        if is_disk_full(error):
            raise
        trace.write_text(traceback.format_exc(), encoding="utf-8")
        return TrialRecord(number, recipe, State.FAILED, seconds=time.monotonic() - started, reason=_reason(error))


def write_record(record: TrialRecord, path: Path) -> None:
    """Write the record as JSON, atomically."""
    write_whole(path, json.dumps(record.to_json()))


def read_record(path: Path) -> TrialRecord:
    """Read a record written by ``write_record``."""
    return TrialRecord.from_json(json.loads(path.read_text(encoding="utf-8")))


def fail_if_not_finite(record: TrialRecord) -> TrialRecord:
    """Return the record, or a failed one if a measurement of a complete trial is not finite."""
    import math

    not_finite = [name for name, measured in record.measurements.items() if not math.isfinite(measured.value)]
    if record.state is not State.COMPLETE or not not_finite:
        return record
    return replace(record, state=State.FAILED, measurements={}, reason=f"not a finite number: {', '.join(not_finite)}")


def _release_memory() -> None:
    """Return the memory of the last trial to the system.

    Models and optimizers are in reference cycles, and their memory stays fragmented in glibc's allocator: without
    ``malloc_trim`` a worker grows by about 0.5 GB per trial.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # Only glibc has it.
        ctypes.CDLL(None).malloc_trim(0)


@lru_cache(maxsize=1)
def _workspace(path: Path) -> Workspace:
    """Open the workspace once for all trials of this process."""
    return Workspace.open(StudyFolder(path))


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
