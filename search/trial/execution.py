"""Run one trial in a worker and write its record, also if it fails."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import shutil
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from autoopt.search.paths import StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import State, TrialRecord
from autoopt.search.trial.run import Report, run_trial
from autoopt.search.trial.rungs import Judge
from autoopt.search.trial.workspace import Workspace
from autoopt.strategies.errors import CorruptArtefact, DiskFull, EnvironmentProblem
from autoopt.strategies.system import devices, measurement_gate
from autoopt.strategies.system.checked_files import read_json, write_json
from autoopt.strategies.system.disk_full import is_disk_full
from autoopt.strategies.system.failpoints import failpoint, witness


@dataclass(frozen=True)
class Assignment:
    """One trial to run. ``screened`` is False for the baseline, which runs whatever it costs."""

    number: int
    recipe: Recipe
    screened: bool = True
    attempt: str = ""
    peaks: Mapping[str, int] = field(default_factory=dict)
    """Bytes that its stages will take of a GPU, by name, as far as that was measured."""

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "recipe": self.recipe.to_json(),
            "screened": self.screened,
            "attempt": self.attempt,
            "peaks": dict(self.peaks),
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Assignment:
        recipe = Recipe.from_json(fields["recipe"])
        return cls(fields["number"], recipe, fields["screened"], fields["attempt"], fields["peaks"])


def execute(assignment: Assignment, folder: StudyFolder, report: Report, judge: Judge | None = None) -> TrialRecord:
    """Run the trial in this process and write its record; return the existing record if there is one.

    A trial that fails raises nothing: its record holds the reason, and ``error.txt`` beside it the traceback. To stop a
    trial, ``judge`` must raise something that is not an ``Exception``. Raises ``DiskFull``, which is no result: nothing
    of the trial is left then, and ``EnvironmentProblem`` if this machine does not have the study's folder.
    """
    if not folder.experiment.is_file():
        raise EnvironmentProblem(
            f"a worker on {socket.gethostname()} does not find the study's folder {folder.path}; choose a root that "
            "all nodes of the cluster mount at the same path, with --root, AUTOOPT_ROOT or storage.root"
        )
    try:
        return _execute(assignment, folder, report, judge)
    except Exception as error:
        if not is_disk_full(error):
            raise
        shutil.rmtree(folder.trial(assignment.number), ignore_errors=True)
        raise DiskFull(
            f"no space is left for the trials in {folder.path} or for stored stages; free some, for instance with "
            "'autoopt cache prune'"
        ) from error


def _execute(assignment: Assignment, folder: StudyFolder, report: Report, judge: Judge | None) -> TrialRecord:
    if existing := load_result(assignment.number, assignment.recipe, folder, attempt=assignment.attempt):
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
            peaks=assignment.peaks,
        )

    try:
        with measurement_gate.telling(report):
            record = run_or_record_failure(assignment.number, assignment.recipe, run, trace=result.parent / "error.txt")
    finally:
        _release_memory()
    record = replace(record, attempt=assignment.attempt)
    failpoint("before-record")
    write_record(record, result)
    witness("end", assignment.number, assignment.recipe.id)
    failpoint("after-record")
    return record


def load_result(number: int, recipe: Recipe, folder: StudyFolder, *, attempt: str) -> TrialRecord | None:
    """Return the record that a worker wrote for this attempt at the trial; None if there is none or it is damaged.

    The folder may hold the result of another study of this name, or, since a power cut may make the database assign a
    number for the second time, that of another attempt.
    """
    try:
        record = read_record(folder.result(number))
    except (CorruptArtefact, FileNotFoundError):
        return None
    # The recipe that the driver has anyway: of thousands of trials, a second copy of each would take megabytes.
    return replace(record, recipe=recipe) if (record.recipe.id, record.attempt) == (recipe.id, attempt) else None


def run_or_record_failure(number: int, recipe: Recipe, run: Callable[[], TrialRecord], *, trace: Path) -> TrialRecord:
    """Return what ``run`` returns, or a failed record after writing the traceback to ``trace``."""
    started = time.monotonic()
    try:
        return run()
    except Exception as error:  # The only place where a failure becomes a record.
        if is_disk_full(error):
            raise
        trace.write_text(traceback.format_exc(), encoding="utf-8")
        seconds, shortage = time.monotonic() - started, getattr(error, "shortage", None)
        return TrialRecord(number, recipe, State.FAILED, seconds=seconds, reason=_reason(error), shortage=shortage)


def write_record(record: TrialRecord, path: Path) -> None:
    """Write the record as JSON with its digest, atomically."""
    write_json(path, record.to_json())


def read_record(path: Path) -> TrialRecord:
    """Read a record written by ``write_record``. Raises ``CorruptArtefact`` if it is damaged."""
    fields = read_json(path)
    try:
        return TrialRecord.from_json(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptArtefact(f"{path} holds no record of a trial: {error}") from None


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
    ``malloc_trim`` a worker grows by about 0.5 GB per trial. Memory of a GPU is given back too.
    """
    gc.collect()
    devices.training_device().release()
    with contextlib.suppress(OSError, AttributeError):  # Only glibc has it.
        ctypes.CDLL(None).malloc_trim(0)


@lru_cache(maxsize=1)
def _workspace(path: Path) -> Workspace:
    """Open the workspace once for all trials of this process."""
    return Workspace.open(StudyFolder(path))


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
