"""A search whose processes are killed: what was finished is kept and not run again, what was not runs again."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from autoopt.strategies.system import failpoints
from tests.reliability.harness import Study, kill, promise, wait_until

KILLS = 50
WINDOW_S = 12.0
"""After the first event of a run, within which it is killed: some trials end, others do not."""
SEED = 0
DRIVER_POINTS = [name for name in failpoints.NAMES if name not in ("before-record", "after-record", "after-stage")]


def goes_on(study: Study) -> None:
    study.finish()
    tally = study.tally()
    assert tally.is_clean, (tally, study.events())
    assert tally.ended == study.trials
    assert study.remnants() == []


def killed_at(study: Study, name: str) -> None:
    """Kill the process that comes to a failpoint, and check that the search goes on."""
    with study.searching(**study.failpoint(name, "kill")) as run:
        code = run.wait()
        assert study.was_hit(name, "kill"), run.errors
        assert code == (-9 if name in DRIVER_POINTS else 0), run.errors
    goes_on(study)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["before-tell", "after-record"])
def test_a_kill_between_two_commits_loses_nothing(tmp_path: Path, name: str) -> None:
    killed_at(Study(tmp_path, trials=2), name)


@pytest.mark.nightly
def test_a_kill_at_every_failpoint_loses_nothing(tmp_path: Path) -> None:
    started_at = time.monotonic()
    for name in failpoints.NAMES:
        killed_at(Study(tmp_path / name, trials=3), name)
    promise(
        "F2 every failpoint, killed",
        promised=f"{len(failpoints.NAMES)} points: 0 lost, 0 run twice, 0 RUNNING",
        reached=f"{len(failpoints.NAMES)} of {len(failpoints.NAMES)}",
        seed=None,
        started_at=started_at,
    )


@pytest.mark.nightly
def test_kills_at_random_times_lose_nothing(tmp_path: Path) -> None:
    started_at, generator = time.monotonic(), random.Random(SEED)
    study = Study(tmp_path, trials=2000)  # More than all runs together come to.
    resumed_s: list[float] = []
    for number in range(KILLS):
        with study.searching() as run:
            begun_at, before = time.monotonic(), len(study.events())
            wait_until(lambda seen=before: len(study.events()) > seen)  # type: ignore[misc]
            resumed_s.append(time.monotonic() - begun_at)
            time.sleep(generator.uniform(0.0, WINDOW_S))
            kill(run)
        tally = study.tally()
        assert (tally.twice, tally.duplicates) == (0, 0), (number, tally)
    ended = study.tally().ended
    assert ended >= KILLS // 2
    study.trials = ended + 4
    study.finish("--trials", study.trials)
    tally = study.tally()
    assert tally.is_clean, tally
    assert tally.ended == study.trials
    promise(
        "F1 kill -9 of the driver at random times, two workers on Ray",
        promised=f"{KILLS} kills: 0 lost, 0 run twice, 0 RUNNING, numbers unique",
        reached=f"{KILLS} kills, {tally.ended} trials: {tally.lost} lost, {tally.twice} twice, {tally.running} RUNNING",
        seed=SEED,
        started_at=started_at,
    )
    promise(
        "F3 resume after a kill",
        promised="running again within 15 s",
        reached=f"median {sorted(resumed_s)[KILLS // 2]:.1f} s, slowest {max(resumed_s):.1f} s",
        seed=SEED,
        started_at=started_at,
    )
