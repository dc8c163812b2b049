"""A search on a real Ray cluster of this machine: what stops a trial at its rung, and what comes after it."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from autoopt.search.backends import ray_runner
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.opening import open_data, space_of
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.study.driver import Driver
from autoopt.search.study.lifecycle import Search
from autoopt.search.trial.record import State, TrialRecord
from tests.search.samples import RecordingAudience, write_experiment

GIB = 2**30


def records_of(experiment: Experiment, root: Root) -> list[TrialRecord]:
    """Those of a whole search."""
    audience = RecordingAudience()
    ended: list[TrialRecord] = []

    def run(driver: Driver, folder: StudyFolder) -> None:
        ray_runner.run(driver, folder, resources=experiment.resources, watcher=audience)
        ended.extend(driver.records)

    space = space_of(experiment, open_data(experiment))
    Search(experiment, root, space, run, lambda *_: {}, audience, audience).complete()
    return ended


def test_a_trial_is_stopped_at_its_rung_and_its_worker_goes_on_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[TrialRecord] = []

    def second_only(driver: Driver, record: TrialRecord) -> bool:
        judged.append(record)
        if record.number != 1:
            return True
        driver.stop(record, "a test")
        return False

    monkeypatch.setattr(Driver, "should_continue", second_only)
    experiment = load_experiment(write_experiment(tmp_path, search={"trials": 4}, resources={"workers": 1}), ())
    root = Root(tmp_path / "root")
    ended = records_of(experiment, root)
    assert [record.state for record in ended[:2]] == [State.COMPLETE, State.STOPPED]
    assert {record.state for record in ended[2:]} == {State.COMPLETE}
    assert len(ended) == 4
    assert list(ended[1].rungs) == ["before recovery"]
    assert not root.study("news").result(1).exists()
    assert [record.number for record in judged] == [1, 2, 2]  # The next one goes past both rungs.


def test_a_trial_that_is_overdue_is_cut_off_and_runs_when_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_experiment(
        write_experiment(tmp_path, search={"trials": 3, "timeout": "1h"}, resources={"workers": 1}), ()
    )
    space = space_of(experiment, open_data(experiment))
    audience = RecordingAudience()
    at_deadline: list[TrialRecord] = []
    ended: list[TrialRecord] = []
    reasons: list[str] = []

    def run(driver: Driver, folder: StudyFolder) -> None:
        ray_runner.run(driver, folder, resources=experiment.resources, watcher=audience)
        ended[:] = driver.records
        reasons.append(driver.stopped_because)

    def overdue(driver: Driver) -> bool:
        if len(driver.records) == 2 and not at_deadline:
            at_deadline.extend(driver.records)
            driver.stopped_because = "a test"
        return bool(at_deadline)

    search = Search(experiment, Root(tmp_path / "root"), space, run, lambda *_: {}, audience, audience)
    with monkeypatch.context() as hurried:
        hurried.setattr(Driver, "overdue", overdue)
        search.complete()
    assert [record.state for record in at_deadline] == [State.COMPLETE, State.RUNNING]
    assert [record.number for record in ended] == [0]
    search.complete()
    assert [record.state for record in ended] == 3 * [State.COMPLETE]
    assert ended[1].recipe == at_deadline[1].recipe
    assert reasons == ["a test", ""]


def test_a_worker_that_is_ended_for_its_memory_costs_its_trial_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = psutil.virtual_memory()
    if memory.available < 8 * GIB:
        pytest.skip("it needs 8 GiB of free memory")
    # Ray judges the whole machine: this process takes memory until the trial's worker is ended for it.
    share = (memory.total - memory.available + 3 * GIB) / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{share:.3f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "50")
    reached: list[int] = []

    def hungry(driver: Driver, record: TrialRecord) -> bool:
        reached.append(record.number)
        if record.number == 1:
            workers, ballast = _workers(), list[bytes]()
            while workers <= _workers() and len(ballast) < 12:
                ballast.append(b"1" * (GIB // 2))
                time.sleep(0.1)
        return True

    monkeypatch.setattr(Driver, "should_continue", hungry)
    experiment = load_experiment(write_experiment(tmp_path, search={"trials": 3}, resources={"workers": 1}), ())
    ended = records_of(experiment, Root(tmp_path / "root"))
    assert [record.state for record in ended] == [State.COMPLETE, State.FAILED, State.COMPLETE]
    assert ended[1].reason.startswith("its worker was killed, as memory ran out")
    assert reached[:2] == [1, 1]  # It was tried once more.
    assert 1 not in reached[2:]


def _workers() -> set[int]:
    """The processes of this one's Ray cluster that run trials."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if child.name().startswith("ray::ImplicitFunc")}
