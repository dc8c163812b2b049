"""Verify the front in a fresh process: time each saved model against the saved baseline, then open the test split.

``python -m autoopt.search.verification STUDY_FOLDER BASELINE NUMBER ...`` writes a line of JSON for each model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoopt.objectives.measurement import Measurement
from autoopt.search.layout import StudyFolder
from autoopt.search.record import TrialRecord
from autoopt.strategies.errors import EnvironmentProblem

TEST_PREFIX = "test_"


@dataclass(frozen=True)
class Verified:
    """A model of the front, measured once more from its saved artefact."""

    record: TrialRecord
    """The trial, with latency and size as they were measured now; quality is still that on the validation split."""
    test: Mapping[str, Measurement]
    """The task's scores on the test split, their names with ``test_`` before them."""

    @property
    def measurements(self) -> Mapping[str, Measurement]:
        return {**self.record.measurements, **self.test}

    @property
    def feasible(self) -> bool:
        return self.record.feasible


def verify(folder: StudyFolder, baseline: TrialRecord, records: Sequence[TrialRecord]) -> Iterator[Verified]:
    """Measure the baseline and then each record's saved model, in one fresh process; yield each when it is done.

    The first one is the baseline itself. Raises ``EnvironmentProblem`` where the process ends with an error.
    """
    numbers = [str(record.number) for record in (baseline, *records)]
    command = [sys.executable, "-m", "autoopt.search.verification", str(folder.path), *numbers]
    known = {record.number: record for record in (baseline, *records)}
    complaints = folder.path / "verification.log"
    with (
        complaints.open("w+", encoding="utf-8") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,  # noqa: S603
    ):
        try:
            for line in process.stdout or ():
                yield _verified(json.loads(line), known)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        last = (complaints.read_text(encoding="utf-8").strip().splitlines() or ["no message"])[-1]
        raise EnvironmentProblem(f"the verification of the front ended with an error: {last} (all of it: {complaints})")


def _verified(fields: Mapping[str, Any], known: Mapping[int, TrialRecord]) -> Verified:
    measured, test = (
        {name: Measurement.from_json(item) for name, item in fields[part].items()} for part in ("measurements", "test")
    )
    record = known[fields["number"]]
    return Verified(replace(record, measurements={**record.measurements, **measured}), test)


def main(arguments: Sequence[str]) -> None:
    """Verify the models of these trials; the first is the baseline."""
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Whatever a library prints does not end up among the results.
    folder = StudyFolder(Path(arguments[0]))
    numbers = [int(argument) for argument in arguments[1:]]
    for line in _lines(folder, numbers[0], numbers):
        results.write(json.dumps(line) + "\n")
        results.flush()


def _lines(folder: StudyFolder, baseline: int, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    import torch

    from autoopt.objectives.latency import Comparison, measurements
    from autoopt.objectives.model_call import calibrate_model, compare_models
    from autoopt.objectives.size import measure_size
    from autoopt.objectives.tasks import open_task
    from autoopt.search.experiment import load_experiment
    from autoopt.search.opening import open_data, target_of
    from autoopt.strategies.saving import describe, load

    torch.set_num_threads(1)
    experiment = load_experiment(folder.experiment, ())
    target, examples = target_of(experiment), open_data(experiment).test
    task = open_task(describe(folder.model(baseline))["task"])
    reference = load(folder.model(baseline), open_task=open_task)
    calibration = calibrate_model(reference.model, target)
    for number in numbers:
        if number == baseline:
            candidate, comparison = reference, Comparison.identity(calibration)
        else:
            candidate = load(folder.model(number), open_task=open_task)
            comparison = compare_models(candidate.model, reference.model, target, thorough=True)
        latency = measurements(comparison, calibration)
        size = measure_size(folder.model(number))
        scores = task.score(candidate, examples)
        yield {
            "number": number,
            "measurements": {name: item.to_json() for name, item in {**latency, "size": size}.items()},
            "test": {f"{TEST_PREFIX}{name}": item.to_json() for name, item in scores.items()},
        }


if __name__ == "__main__":
    main(sys.argv[1:])
