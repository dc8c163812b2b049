"""A long search: its driver's memory, files and threads stay flat."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from autoopt.search.backends.mlflow_tracking import MlflowTracker
from autoopt.search.backends.optuna_storage import database_url
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.experiment.experiment import load_experiment
from autoopt.search.experiment.opening import directions, open_data, space_of
from autoopt.search.paths import Root
from autoopt.search.space.start_design import baseline, start_design
from autoopt.search.study.driver import Driver
from autoopt.search.study.stopping import StoppingRule
from autoopt.search.trial.execution import write_record
from autoopt.search.trial.record import State, TrialRecord
from tests.reliability.harness import Study, promise
from tests.search.samples import measured

MIB = 2**20
WARM = 0.25
"""Share of the trials after which the slope is measured."""


def memory_of_trials(folder: Path, trials: int) -> tuple[float, int, int]:
    """Run quick trials with tracking; return MiB per 100 trials, and the growth of files and threads."""
    study = Study(folder, trials=trials, changes={"strategies": {"masked_language_modeling": True, "lora": True}})
    experiment = load_experiment(study.file, ())
    space = space_of(experiment, open_data(experiment))
    root = Root(study.root)
    shelf = OptunaStudy.open(
        database_url(root.optuna_database),
        "news",
        space,
        objectives=directions(experiment),
        limits=experiment.budget,
        sampler="random",
        seed=0,
    )
    tracker = MlflowTracker(None, root, "news", warn=print)
    driver = Driver(
        shelf,
        root.study("news"),
        baseline=baseline(space),
        objectives=directions(experiment),
        limits=experiment.budget,
        stopping=StoppingRule(trials),
        observe=lambda record: tracker.record(record),
    )
    driver.prepare(start_design(space))
    process = psutil.Process()
    resident: list[float] = []
    counts: list[tuple[int, int]] = []
    chance = np.random.default_rng(0)
    while assignment := driver.next():
        values = measured(float(chance.uniform(0.5, 0.9)), 1.0, float(chance.uniform(1e4, 1e6)))
        record = TrialRecord(
            assignment.number, assignment.recipe, State.COMPLETE, values, seconds=1.0, attempt=assignment.attempt
        )
        write_record(record, root.study("news").result(assignment.number))
        driver.record_result(assignment.number)
        if assignment.number % 20 == 0:
            gc.collect()
            resident.append(process.memory_info().rss / MIB)
            counts.append((process.num_fds(), threading.active_count()))
    tracker.close(600)
    assert driver.counted == trials
    warm = int(WARM * len(resident))
    slope = float(np.polyfit(range(len(resident) - warm), resident[warm:], 1)[0]) * 5
    (files, threads), (last_files, last_threads) = counts[warm], counts[-1]
    return slope, last_files - files, last_threads - threads


@pytest.mark.nightly
def test_memory_is_flat_over_two_thousand_quick_trials(tmp_path: Path) -> None:
    started_at = time.monotonic()
    slope, files, threads = memory_of_trials(tmp_path, 2000)
    promise(
        "F17 2,000 quick trials",
        promised="less than 1 MB for 100 trials, files and threads flat",
        reached=f"{slope:.2f} MB for 100 trials, {files:+d} files, {threads:+d} threads",
        seed=0,
        started_at=started_at,
    )
    assert slope < 1.0
    assert files <= 2
    assert threads <= 0
