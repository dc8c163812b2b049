"""A search on a real Ray cluster of this machine: what stops a trial at its rung, and what comes after it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray import tune

from autoopt.search.backends.ray_tune import runner as ray_runner
from autoopt.search.backends.ray_tune.cluster import check_cluster
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.opening import open_data, space_of
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.study.driver import Driver
from autoopt.search.study.lifecycle import Search
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.errors import DatabaseUnavailable, EnvironmentProblem, TrialError
from tests.search.samples import RecordingAudience, write_experiment

GIB = 2**30
ORIGINAL_TRIAL = ray_runner._trial


def records_of(
    experiment: Experiment,
    root: Root,
    messages: list[str] | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> list[TrialRecord]:
    """Those of a whole search; what it says is added to ``messages``."""
    audience = RecordingAudience(messages)
    ended: list[TrialRecord] = []

    def run(driver: Driver, folder: StudyFolder) -> None:
        ray_runner.run(driver, folder, resources=experiment.resources, watcher=audience, meanwhile=meanwhile)
        ended.extend(driver.records)

    space = space_of(experiment, open_data(experiment))
    Search(experiment, root, space, run, lambda *_: {}, audience, audience).complete()
    return ended


@pytest.mark.nightly
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
    beyond = [record.number for record in judged if record.number]  # The baseline, a trunk alone, has a rung too.
    assert beyond == [1, 2, 2]  # The next one goes past both rungs.


@pytest.mark.nightly
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


def _slow_end(config: dict[str, Any]) -> None:
    """A trial whose thread takes three seconds to end, as one that frees much memory."""
    try:
        ORIGINAL_TRIAL(config)
    finally:
        time.sleep(3.0)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.nightly)])
@pytest.mark.slow
def test_a_search_ends_though_workers_end_stopped_trials_too_slowly_to_be_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def all_but_the_baseline(driver: Driver, record: TrialRecord) -> bool:
        if record.number == 0:
            return True
        driver.stop(record, "a test")
        return False

    monkeypatch.setenv("TUNE_FUNCTION_THREAD_TIMEOUT_S", "1")
    monkeypatch.setattr(Driver, "should_continue", all_but_the_baseline)
    monkeypatch.setattr(ray_runner, "_trial", _slow_end)
    dropped: list[int] = []
    book = Driver.dropped

    def watched(driver: Driver, number: int, reason: str) -> None:
        dropped.append(number)
        book(driver, number, reason)

    monkeypatch.setattr(Driver, "dropped", watched)
    experiment = load_experiment(write_experiment(tmp_path, search={"trials": 4}, resources={"workers": workers}), ())
    ended = records_of(experiment, Root(tmp_path / "root"))
    assert dropped
    assert len(ended) == 4
    assert State.STOPPED in {record.state for record in ended}
    assert State.FAILED not in {record.state for record in ended}
    assert len({record.recipe.id for record in ended}) == 4


def _hang_always(config: dict[str, Any]) -> None:
    tune.report({"number": config["assignment"]["number"], "stage": "hanging"})
    max(iter(int, 1))


def _hang(config: dict[str, Any]) -> None:
    """Hang in trial 1, in a loop of C that holds the interpreter."""
    if config["assignment"]["number"] == 1:
        _hang_always(config)
    ORIGINAL_TRIAL(config)


@pytest.mark.slow
def test_a_trial_that_hangs_is_ended_and_its_slot_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_runner, "_trial", _hang)
    search = {"trials": 3, "trial_timeout": "15s"}
    experiment = load_experiment(write_experiment(tmp_path, search=search, resources={"workers": 1}), ())
    ended = records_of(experiment, Root(tmp_path / "root"))
    assert [record.state for record in ended] == [State.COMPLETE, State.FAILED, State.COMPLETE]
    assert ended[1].reason.startswith("timeout: it ran for 1")


@pytest.mark.nightly
@pytest.mark.parametrize("limit", [{"trial_timeout": "6s"}, {"timeout": "5s"}])
def test_a_baseline_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, str]) -> None:
    monkeypatch.setattr(ray_runner, "_trial", _hang_always)
    search = {"trials": 3, **limit}
    experiment = load_experiment(write_experiment(tmp_path, search=search, resources={"workers": 1}), ())
    message = "the baseline failed with timeout" if "trial_timeout" in limit else "the time is used up"
    with pytest.raises(TrialError, match=message):
        records_of(experiment, Root(tmp_path / "root"))


@pytest.mark.nightly
def test_what_the_driver_raises_ends_the_search_and_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(driver: Driver, number: int) -> None:
        calls.append(number)
        raise DatabaseUnavailable("the study database does not answer")

    calls: list[int] = []
    monkeypatch.setattr(Driver, "record_result", lost)
    experiment = load_experiment(write_experiment(tmp_path, search={"trials": 3}, resources={"workers": 2}), ())
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        records_of(experiment, Root(tmp_path / "root"))
    assert calls == [0]


def test_a_search_that_the_machine_can_never_run_says_so(tmp_path: Path) -> None:
    resources = {"workers": 1, "gpus_per_worker": 1}
    experiment = load_experiment(write_experiment(tmp_path, resources=resources), ())
    with pytest.raises(EnvironmentProblem, match=r"each trial needs 1 CPU, 1 GPU .* but the cluster has: 1 CPU, 0 GPU"):
        records_of(experiment, Root(tmp_path / "root"))


def test_trials_run_in_the_processes_that_ray_has_started_and_prepared_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(config: dict[str, Any]) -> None:
        (tmp_path / "worker").write_text(json.dumps({"process": os.getpid(), "torch": "torch" in sys.modules}))
        ORIGINAL_TRIAL(config)

    waiting: set[int] = set()

    def meanwhile() -> None:
        while not waiting:  # Ray starts them before it tells that it is up.
            children = psutil.Process().children(recursive=True)
            waiting.update(child.pid for child in children if child.name().startswith("ray::IDLE"))
            time.sleep(0.05)

    monkeypatch.setattr(ray_runner, "_trial", report)
    experiment = load_experiment(write_experiment(tmp_path, search={"trials": 1}, resources={"workers": 1}), ())
    records_of(experiment, Root(tmp_path / "root"), meanwhile=meanwhile)
    worker = json.loads((tmp_path / "worker").read_text())
    assert worker["process"] in waiting
    assert worker["torch"]


def test_a_client_address_is_refused_with_what_to_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(EnvironmentProblem, match="RAY_ADDRESS=auto"):
        check_cluster()


@pytest.mark.nightly
def test_an_empty_address_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert "starts" in check_cluster()


@pytest.mark.nightly
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
    tried = [number for number in reached if number]
    assert tried[:2] == [1, 1]  # It was tried once more.
    assert 1 not in tried[2:]


def _workers() -> set[int]:
    """The processes of this one's Ray cluster that run trials."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if child.name().startswith("ray::ImplicitFunc")}


@pytest.mark.slow
def test_a_node_without_the_folder_of_the_study_ends_the_search_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(config: dict[str, Any]) -> None:
        ORIGINAL_TRIAL({**config, "folder": str(tmp_path / "elsewhere" / "studies" / "news")})

    monkeypatch.setattr(ray_runner, "_trial", elsewhere)
    experiment = load_experiment(write_experiment(tmp_path, search={"trials": 2}, resources={"workers": 1}), ())
    root = Root(tmp_path / "root")
    message = r"a worker on \S+ does not find the study's folder .*elsewhere/studies/news; choose a root that all nodes"
    with pytest.raises(EnvironmentProblem, match=message):
        records_of(experiment, root)
    assert not (tmp_path / "elsewhere").exists()
    monkeypatch.setattr(ray_runner, "_trial", ORIGINAL_TRIAL)
    assert [record.state for record in records_of(experiment, root)] == [State.COMPLETE, State.COMPLETE]


def _raise_always(config: dict[str, Any]) -> None:
    raise PermissionError(13, "Permission denied", "/mnt/studies")


def test_what_a_worker_raises_outside_of_its_trial_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_runner, "_trial", _raise_always)
    experiment = load_experiment(write_experiment(tmp_path, search={"trials": 2}, resources={"workers": 1}), ())
    message = r"the baseline failed with PermissionError: .* Permission denied: '/mnt/studies'"
    with pytest.raises(TrialError, match=message):
        records_of(experiment, Root(tmp_path / "root"))


@pytest.mark.slow
def test_workers_of_less_priority_are_mentioned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "7")
    experiment = load_experiment(write_experiment(tmp_path, search={"trials": 2}, resources={"workers": 1}), ())
    messages: list[str] = []
    records_of(experiment, Root(tmp_path / "root"), messages)
    (warning,) = [message for message in messages if "niceness" in message]
    assert "run at niceness 7" in warning
    assert "RAY_worker_niceness=0 in the environment of 'ray start'" in warning
