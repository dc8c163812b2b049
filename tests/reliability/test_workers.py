"""Workers and nodes that die: their trials run again, the others go on."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from autoopt.strategies.system import failpoints
from tests.reliability.harness import Run, Study, promise, wait_until

KILLS = 20
NODES_LOST = 10
SEED = 0


def workers(run: Run) -> list[psutil.Process]:
    """Return the processes that run trials."""
    return [process for process in run.processes() if process.name().startswith("ray::ImplicitFunc")]


def victims(run: Run, study: Study) -> list[psutil.Process]:
    """Return the workers of trials in their first attempt; a trial whose worker dies twice may fail."""
    attempts = Counter(recipe for event, _, recipe, _ in study.lines() if event == "begin")
    ended = {recipe for event, _, recipe, _ in study.lines() if event == "end"}
    first = {pid for event, _, recipe, pid in study.lines() if attempts[recipe] == 1 and recipe not in ended}
    return [worker for worker in workers(run) if worker.pid in first]


@pytest.mark.nightly
def test_killed_workers_cost_one_attempt_each_and_their_neighbours_nothing(tmp_path: Path) -> None:
    started_at, generator = time.monotonic(), random.Random(SEED)
    study = Study(tmp_path, trials=120)
    killed = 0
    with study.searching() as run:
        run.wait_for("trial 0 ended")
        for _ in range(KILLS):
            wait_until(lambda: bool(victims(run, study)))
            generator.choice(victims(run, study)).send_signal(signal.SIGKILL)
            killed += 1
            time.sleep(generator.uniform(1.0, 4.0))
        assert run.wait(patience_s=1800) == 0, run.errors
        assert "Traceback" not in run.errors
    tally = study.tally()
    assert tally.is_clean, tally
    assert tally.ended == study.trials
    failed = [record["reason"] for record in study.records() if record["state"] == "failed"]
    assert failed == []
    begun = [recipe for event, _, recipe in study.events() if event == "begin"]
    assert len(begun) - len(set(begun)) <= killed, "no neighbour began again"
    promise(
        "F4 killed workers",
        promised="20 kills: every trial tried again, no neighbour touched",
        reached=f"{killed} kills, {len(begun) - len(set(begun))} attempts more, {len(failed)} trials failed",
        seed=SEED,
        started_at=started_at,
    )


@pytest.mark.nightly
def test_lost_nodes_cost_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started_at = time.monotonic()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    for name, value in {"period_ms": 500, "failure_threshold": 4, "timeout_ms": 1000}.items():
        monkeypatch.setenv(f"RAY_health_check_{name}", str(value))
    study = Study(tmp_path, trials=120)
    monkeypatch.setenv(failpoints.LEDGER, str(study.ledger))
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        back_s: list[float] = []
        with study.searching(RAY_ADDRESS=cluster.address) as run:
            run.wait_for("trial 0 ended")
            for _ in range(NODES_LOST):
                before = len(study.events())
                lost_at = time.monotonic()
                cluster.remove_node(nodes.pop(0), allow_graceful=False)
                nodes.append(cluster.add_node(num_cpus=1))
                wait_until(lambda seen=before: len(study.events()) > seen + 2)  # type: ignore[misc]
                back_s.append(time.monotonic() - lost_at)
            assert run.wait(patience_s=1800) == 0, run.errors
            assert "Traceback" not in run.errors
    finally:
        cluster.shutdown()
    tally = study.tally()
    assert tally.is_clean, tally
    assert tally.ended == study.trials
    failed = [record["reason"] for record in study.records() if record["state"] == "failed"]
    promise(
        "F5 lost nodes",
        promised="10 raylets killed of 2 nodes: all trials end, working again within 60 s",
        reached=f"{NODES_LOST} lost, {len(failed)} trials failed, again within {max(back_s):.0f} s",
        seed=None,
        started_at=started_at,
    )
    assert max(back_s) < 60
    assert not failed
