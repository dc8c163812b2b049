"""A study database that is restarted, out of reach, or held by somebody else."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoopt.search.backends import optuna_storage
from autoopt.strategies.errors import DatabaseUnavailable
from tests import postgres
from tests.reliability.harness import Study, promise
from tests.servers import free_port

SEED = 0
RESTARTS = 20
OUTAGE_S = 90.0


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    with postgres.running_server() as running:
        yield running


def study_at(server: postgres.Server, folder: Path, *, trials: int) -> tuple[Study, str]:
    url = server.create_database("studies")
    return Study(folder, trials=trials, changes={"storage": {"url": url}}), url


def goes_through(study: Study, url: str) -> None:
    tally = study.tally(url)
    assert tally.is_clean, tally
    assert tally.ended == study.trials
    assert sum(event == "begin" for event, _, _ in study.events()) == study.trials


@pytest.mark.nightly
def test_a_search_goes_on_through_restarts_of_its_database(tmp_path: Path, server: postgres.Server) -> None:
    study, url = study_at(server, tmp_path, trials=4)
    with study.searching() as run:
        run.wait_for("trial 0 started")
        for mode in ("fast", "immediate"):
            server.stop(mode)
            time.sleep(1.0)
            server.start()
            time.sleep(1.0)
        assert run.wait() == 0, run.errors
        assert "Traceback" not in run.errors
    goes_through(study, url)


@pytest.mark.nightly
def test_twenty_restarts_and_an_outage(tmp_path: Path, server: postgres.Server) -> None:
    started_at, generator = time.monotonic(), random.Random(SEED)
    study, url = study_at(server, tmp_path, trials=150)
    with study.searching() as run:
        run.wait_for("trial 0 started")
        for number in range(RESTARTS):
            server.stop("fast" if number % 2 else "immediate")
            time.sleep(generator.uniform(0.0, 3.0))
            server.start()
            time.sleep(generator.uniform(0.5, 3.0))
        ended = study.tally(url).ended
        server.stop()
        time.sleep(OUTAGE_S)
        server.start()
        assert run.wait(patience_s=1800) == 0, run.errors
        assert "Traceback" not in run.errors
    assert ended < study.trials
    goes_through(study, url)
    promise(
        "F6 restarts of PostgreSQL and an outage",
        promised="20 restarts (10 immediate), one outage of 90 s: 0 lost, 0 run twice",
        reached=f"{RESTARTS} restarts, {OUTAGE_S:.0f} s: 0 lost, 0 run twice of {study.trials}",
        seed=SEED,
        started_at=started_at,
    )


@pytest.mark.nightly
def test_a_database_that_stays_away_ends_a_search_with_5(tmp_path: Path, server: postgres.Server) -> None:
    study, url = study_at(server, tmp_path, trials=40)
    with study.searching() as run:
        run.wait_for("trial 0 started")
        server.stop()
        assert run.wait(patience_s=optuna_storage.RETRY_FOR_S + 120) == 5, run.errors
        *_, cause, note = run.errors.strip().splitlines()
        assert cause.startswith("Error: the study database did not answer for 5 minutes (")
        assert "To resume: autoopt search" in note
        assert "Traceback" not in run.errors
        assert run.leftovers() == []
    server.start()
    study.finish("--trials", 6)
    assert study.tally(url).is_clean


def test_a_database_that_is_away_at_the_start_is_named_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://autoopt:secret@127.0.0.1:{free_port()}/studies"
    with Study(tmp_path, changes={"storage": {"url": "${ENV:STUDIES}"}}).searching(STUDIES=url) as run:
        assert run.wait() == 5
        assert "secret" not in run.errors
        assert "127.0.0.1" in run.errors
        assert "Traceback" not in run.errors


def test_waiting_for_a_database_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy

    calls: list[float] = []

    def away() -> None:
        calls.append(time.monotonic())
        raise sqlalchemy.exc.OperationalError("SELECT 1", {}, OSError("connection refused"))

    monkeypatch.setattr(optuna_storage, "RETRY_FOR_S", 1.0)
    with pytest.raises(DatabaseUnavailable, match="connection refused"):
        optuna_storage.retried(away)
    assert 3 <= len(calls) <= 5

    def wrong() -> None:
        calls.append(time.monotonic())
        raise sqlalchemy.exc.IntegrityError("INSERT", {}, OSError("duplicate key"))

    calls.clear()
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        optuna_storage.retried(wrong)
    assert len(calls) == 1
