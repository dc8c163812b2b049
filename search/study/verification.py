"""Verify models in a fresh process: time each saved model against the saved baseline, then score the test split.

``python -m autoopt.search.study.verification STUDY_FOLDER END BASELINE NUMBER ...`` writes one JSON object per model;
``END`` is the ``time.time()`` at which the search has to be over, or ``inf``.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoopt.objectives.measurement import QUALITY, Measurement
from autoopt.objectives.scoring.bootstrap import Difference
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.study.evidence import TEST_QUALITY, Gap, Seeds, difference_measurements, gap
from autoopt.search.trial.record import TrialRecord
from autoopt.strategies.errors import DiskFull, EnvironmentProblem
from autoopt.strategies.system import measurement_gate
from autoopt.strategies.system.disk_full import is_full, mentions_disk_full
from autoopt.strategies.system.processes import exit_with_parent, last_line

TIMING_SHARE = 0.5
"""Share of the time of a model's verification in which its calls are timed; in the rest the test split is scored."""
MIN_TIMING_S = 2.0
REGISTER_S = 1.5
"""Time to register one model."""


@dataclass(frozen=True)
class Verified:
    """A model that was measured again from its saved artefact."""

    record: TrialRecord
    """The trial with its new costs; its quality is still that on the validation split."""
    test: Mapping[str, Measurement]
    """The task's scores on the test split, with the prefix ``test_`` in their names."""
    difference: Difference | None = None
    """Paired difference of its test quality to the baseline's; None for the baseline itself."""
    seeds: Seeds | None = None
    """Its recipe under several seeds, if ``search.confirm_seeds`` requests them."""

    @property
    def measurements(self) -> Mapping[str, Measurement]:
        samples = self.test[TEST_QUALITY].samples if TEST_QUALITY in self.test else 0
        difference = difference_measurements(self.difference, samples=samples) if self.difference else ()
        seeds = self.seeds.measurements() if self.seeds else ()
        return {**self.record.measurements, **self.test, **{item.name: item for item in (*difference, *seeds)}}

    @property
    def gap(self) -> Gap | None:
        """The gap between its quality on validation and on test; None if either is unknown."""
        validation, test = self.record.measurements.get(QUALITY), self.test.get(TEST_QUALITY)
        return gap(validation, test) if validation and test else None

    @property
    def feasible(self) -> bool:
        return self.record.feasible


def verify(
    folder: StudyFolder,
    baseline: TrialRecord,
    records: Sequence[TrialRecord],
    *,
    say: Callable[[str], None],
    seconds: float | None = None,
) -> Iterator[Verified]:
    """Measure the saved models of the baseline and of each record in one fresh process, and yield them in turn.

    The baseline comes first; ``say`` is called with what delays it. With ``seconds`` left, models are timed less
    thoroughly, and none is started that would probably end after them; the baseline and one more always are. Raises
    ``EnvironmentProblem`` if the process fails.
    """
    numbers = [str(record.number) for record in (baseline, *records)]
    end = str(math.inf if seconds is None else time.time() + seconds)
    command = [sys.executable, "-m", "autoopt.search.study.verification", str(folder.path), end, *numbers]
    by_number = {record.number: record for record in (baseline, *records)}
    log_path = folder.path / "verification.log"
    with (
        log_path.open("w+", encoding="utf-8") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,  # noqa: S603
    ):
        try:
            for line in process.stdout or ():
                fields = json.loads(line)
                if "delay" in fields:
                    say(f"the verification is {fields['delay']}")
                else:
                    yield _verified(fields, by_number)
            process.wait()  # Before its stdin is closed, which would end it.
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        last = last_line(log_path.read_text(encoding="utf-8", errors="replace"))
        if mentions_disk_full(last) or is_full(folder.path):
            raise DiskFull(f"no space is left on the disk of {folder.path} to verify the front; free some")
        raise EnvironmentProblem(f"the verification of the front failed: {last} (full log: {log_path})")


def _verified(fields: Mapping[str, Any], by_number: Mapping[int, TrialRecord]) -> Verified:
    measured, test = (
        {name: Measurement.from_json(item) for name, item in fields[part].items()} for part in ("measurements", "test")
    )
    record = by_number[fields["number"]]
    difference = Difference(**fields["difference"]) if fields["difference"] else None
    return Verified(replace(record, measurements={**record.measurements, **measured}), test, difference)


def main(arguments: Sequence[str]) -> None:
    """Verify the models of these trials until a point of time; the first number is the baseline's."""
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Keeps the output of libraries out of the results.
    folder = StudyFolder(Path(arguments[0]))
    left_s = float(arguments[1]) - time.time()
    pace = Pace(time.monotonic() + left_s, [int(argument) for argument in arguments[2:]])

    def write(line: Mapping[str, Any]) -> None:
        results.write(json.dumps(line) + "\n")
        results.flush()

    with measurement_gate.telling(lambda delay: write({"delay": delay})):
        for line in _lines(folder, pace):
            write(line)


@dataclass
class Pace:
    """How much time the verification of each model may take."""

    end: float
    """``time.monotonic()`` when the search has to be over; infinite without a limit."""
    numbers: Sequence[int]
    """Trials to verify, the baseline's first."""
    _remaining: int = 0

    def __iter__(self) -> Iterator[int]:
        """Yield the trials for which there is time, by what the one before took."""
        longest = 0.0
        self._remaining = len(self.numbers)
        for place, number in enumerate(self.numbers):
            started = time.monotonic()
            if place > 1 and started + longest > self.end - REGISTER_S * (place + 1):
                return
            yield number
            self._remaining -= 1
            longest = time.monotonic() - started

    def timing_s(self) -> float:
        """Return the seconds for which calls of the current model may be timed."""
        left_s = self.end - time.monotonic() - REGISTER_S * len(self.numbers)
        return max(MIN_TIMING_S, TIMING_SHARE * left_s / self._remaining)


def _lines(folder: StudyFolder, pace: Pace) -> Iterator[dict[str, Any]]:
    import torch

    from autoopt.objectives.bench import Bench
    from autoopt.objectives.data.token_cache import TokenCache
    from autoopt.objectives.tasks import open_task
    from autoopt.search.experiment.experiment import load_experiment
    from autoopt.search.experiment.opening import open_data, targets_of
    from autoopt.search.study.test_split import evaluate_on_test
    from autoopt.strategies.saving import describe, load

    torch.set_num_threads(1)
    experiment = load_experiment(folder.experiment, ())
    data = open_data(experiment)
    examples = data.test
    reference_outcomes = None
    tokens = TokenCache(Root(folder.path.parent.parent).tokens)
    baseline = pace.numbers[0]
    reference = replace(load(folder.model(baseline), open_task=open_task), tokens=tokens)
    targets = targets_of(experiment, reference, data.validation)
    bench = Bench(reference, targets, experiment.metrics(), pace.timing_s)
    for number in pace:
        saved = folder.model(number)
        candidate = reference if number == baseline else replace(load(saved, open_task=open_task), tokens=tokens)
        description = describe(saved)
        own_targets = targets
        if Recipe.from_json(description["notes"]["recipe"]).model:  # Its tokenizer may make other lengths of the texts.
            own_targets = targets_of(experiment, candidate, data.validation)
        measured = bench.measure(candidate, saved, own_targets=own_targets)
        task = open_task(description["task"])  # It may have been tuned along with the model.
        path = folder.predictions(number)
        result = evaluate_on_test(task, candidate, examples, baseline=reference_outcomes, predictions=path)
        if reference_outcomes is None:
            reference_outcomes = result.outcomes
        yield {
            "number": number,
            "measurements": {name: item.to_json() for name, item in measured.items()},
            **result.to_json(),
        }


if __name__ == "__main__":
    exit_with_parent()
    main(sys.argv[1:])
