"""Confirm the front: train its recipes and the baseline with further seeds, to measure the spread of their scores.

``python -m autoopt.search.study.confirmation STUDY_FOLDER SEED NUMBER ...`` trains the recipes of these trials with one
seed and writes a record of each.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from autoopt.objectives.measurement import QUALITY
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.paths import StudyFolder
from autoopt.search.study.evidence import TEST_PREFIX, TEST_QUALITY, Seeds, Spread
from autoopt.search.study.outcome import Outcome
from autoopt.search.study.verification import Verified
from autoopt.search.trial.execution import fail_if_not_finite, read_record, run_or_record_failure, write_record
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.system.devices import gpu_count, training_on, worker_device
from autoopt.strategies.system.processes import exit_with_parent, last_line

if TYPE_CHECKING:
    from autoopt.objectives.task import Task
    from autoopt.search.experiment.sections import SearchSection
    from autoopt.search.space.recipe import Recipe
    from autoopt.search.trial.workspace import Workspace

_POLL_INTERVAL_S = 0.2
_SEED_COUNT = 2**32


def further_seeds(search: SearchSection) -> list[int]:
    """Return the seeds in addition to the study's own, modulo 2**32."""
    return [(search.seed + step) % _SEED_COUNT for step in range(1, search.confirm_seeds)]


def confirm(outcome: Outcome, folder: StudyFolder, experiment: Experiment, say: Callable[[str], None]) -> Outcome:
    """Return the outcome with the scores of the baseline and the front under several seeds; the front is unchanged.

    Earlier trainings are read from disk. A seed whose process dies is reported to ``say`` and left out.
    """
    seeds = further_seeds(experiment.search) if outcome.models else []
    numbers = list(dict.fromkeys(model.record.number for model in (outcome.baseline, *outcome.models)))
    missing = {seed: [n for n in numbers if not folder.seed_result(n, seed).is_file()] for seed in seeds}
    missing = {seed: numbers for seed, numbers in missing.items() if numbers}
    if missing:
        count = sum(map(len, missing.values()))
        say(f"confirming the front with the seeds {', '.join(map(str, seeds))}, models to train: {count}")
        _train(folder, missing, workers=experiment.resources.workers, say=say)
    with_seeds = partial(_with_seeds, folder=folder, own=experiment.search.seed, seeds=seeds)
    return replace(outcome, baseline=with_seeds(outcome.baseline), models=tuple(map(with_seeds, outcome.models)))


def _with_seeds(model: Verified, *, folder: StudyFolder, own: int, seeds: Sequence[int]) -> Verified:
    paths = {seed: folder.seed_result(model.record.number, seed) for seed in seeds}
    records = {seed: fail_if_not_finite(read_record(path)) for seed, path in paths.items() if path.is_file()}
    if not records:
        return replace(model, seeds=None)
    complete = {seed: record.measurements for seed, record in records.items() if record.state is State.COMPLETE}
    all_measured = [model.measurements, *complete.values()]
    quality, test_quality = (
        Spread(tuple(measured[name].value for measured in all_measured)) for name in (QUALITY, TEST_QUALITY)
    )
    failed = {seed: record.reason for seed, record in records.items() if seed not in complete}
    return replace(model, seeds=Seeds((own, *complete), quality, test_quality, failed))


def _train(folder: StudyFolder, missing: Mapping[int, list[int]], *, workers: int, say: Callable[[str], None]) -> None:
    """Train each seed in a process of its own, ``workers`` at a time, and report each record that it writes."""
    waiting, pending = list(missing), {seed: list(numbers) for seed, numbers in missing.items()}
    running: dict[int, subprocess.Popen[bytes]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                seed = waiting.pop(0)
                running[seed] = _start(folder, seed, missing[seed])
            time.sleep(_POLL_INTERVAL_S)
            for seed, process in list(running.items()):
                has_ended = process.poll() is not None  # Before reading, so that its last record is seen.
                for number in [n for n in pending[seed] if folder.seed_result(n, seed).is_file()]:
                    pending[seed].remove(number)
                    say(_describe_record(seed, read_record(folder.seed_result(number, seed))))
                if has_ended:
                    _close(running.pop(seed))
                    if pending[seed]:
                        say(_describe_failure(folder, seed))
    finally:
        for process in running.values():
            process.kill()
            _close(process)


def _start(folder: StudyFolder, seed: int, numbers: Sequence[int]) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "autoopt.search.study.confirmation",
        str(folder.path),
        str(seed),
        *map(str, numbers),
    ]
    with _log(folder, seed).open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)  # noqa: S603


def _close(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    if process.stdin:
        process.stdin.close()


def _log(folder: StudyFolder, seed: int) -> Path:
    return folder.path / f"confirmation-seed-{seed}.log"


def _describe_record(seed: int, record: TrialRecord) -> str:
    if record.state is State.FAILED:
        return f"seed {seed} of trial {record.number} failed: {record.reason}"
    quality, test = (record.measurements[name].value for name in (QUALITY, TEST_QUALITY))
    return f"seed {seed} of trial {record.number}: {quality:.1%}, test {test:.1%}"


def _describe_failure(folder: StudyFolder, seed: int) -> str:
    log = _log(folder, seed)
    last = last_line(log.read_text(encoding="utf-8", errors="replace"))
    return (
        f"the training with seed {seed} failed: {last} (full log: {log}); the verified front is unchanged, and the "
        "missing models are trained when you search again"
    )


# Runs in the process of a seed.


def main(arguments: Sequence[str]) -> None:
    """Train the recipes of these trials with this seed."""
    import torch

    from autoopt.search.trial.workspace import Workspace

    folder, seed = StudyFolder(Path(arguments[0])), int(arguments[1])
    resources = load_experiment(folder.experiment, ()).resources
    torch.set_num_threads(resources.cpus_per_worker)
    with training_on(worker_device(resources.gpu_share(gpu_count()), number=seed)):
        workspace = Workspace.open(folder, seed=seed)
        for number in map(int, arguments[2:]):
            recipe, result = read_record(folder.result(number)).recipe, folder.seed_result(number, seed)
            run = partial(_retrain, number, recipe, workspace)
            write_record(run_or_record_failure(number, recipe, run, trace=result.with_suffix(".error.txt")), result)


def _retrain(number: int, recipe: Recipe, workspace: Workspace) -> TrialRecord:
    from autoopt.search.trial.run import build

    started_at = time.monotonic()
    candidate, stages = build(recipe, workspace)
    candidate = workspace.task.tune(candidate, workspace.data.validation)
    task = cast("Task", candidate.task)  # The one that would be saved with the model.
    test = {f"{TEST_PREFIX}{name}": item for name, item in task.score(candidate, workspace.data.test).items()}
    measurements = {**task.score(candidate, workspace.data.validation), **test}
    return TrialRecord(
        number, recipe, State.COMPLETE, measurements, stages=stages, seconds=time.monotonic() - started_at
    )


if __name__ == "__main__":
    exit_with_parent()
    main(sys.argv[1:])
