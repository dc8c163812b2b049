"""A tracking server that accepts connections and never answers, dies half-way, or is killed during a registration."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoopt.search.backends.mlflow_client import open_client
from autoopt.search.paths import Root
from tests.reliability.harness import Study, kill, promise
from tests.servers import free_port, mlflow_server

EXTRA_S = 5.0
"""How long a server that does not answer may keep a search after its last trial."""
KILLS = 20
SEED = 0


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen without ever answering, and yield the port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield int(listener.getsockname()[1])


def count_runs(uri: str) -> dict[str, int]:
    client = open_client(uri, Root(Path("unused")))
    experiment = client.get_experiment_by_name("news")
    kinds = [run.data.tags.get("autoopt.kind", "") for run in client.search_runs([experiment.experiment_id])]
    versions = client.search_model_versions("name = 'news'")
    return {**{kind: kinds.count(kind) for kind in ("study", "trial")}, "versions": len(versions)}


def seconds_after_the_last_trial(study: Study, errors: str) -> float:
    """Return the seconds from verification to the registration or the note that stands in its place."""

    def stamp(line: str) -> float:
        minutes, seconds = line[1:].split("]")[0].split(":")
        return 60.0 * int(minutes) + int(seconds)

    lines = [line for line in errors.splitlines() if line.startswith("[")]
    last_trial = next(line for line in lines if f"{study.trials} of {study.trials} trials" in line)
    verifying = next(line for line in lines if "verifying the front" in line)
    return stamp(verifying) - stamp(last_trial)


@pytest.mark.nightly
def test_a_silent_server_costs_five_seconds_and_gets_everything_later_once(tmp_path: Path) -> None:
    with silent_server() as port:
        uri = f"http://127.0.0.1:{port}"
        study = Study(tmp_path, trials=2, changes={"tracking": {"uri": uri}})
        run = study.finish()
        assert seconds_after_the_last_trial(study, run.errors) <= EXTRA_S + 2
        assert f"autoopt sync news --root {study.root}" in run.errors
        assert "Traceback" not in run.errors
    with mlflow_server(tmp_path / "server", port):
        counts = []
        for _ in range(2):
            sync = study.command("sync", "news", "--root", study.root)
            assert sync.wait() == 0, sync.errors
            counts.append(count_runs(uri))
    assert counts[0]["trial"] == study.trials
    assert counts[0]["study"] == 1
    assert counts[0]["versions"] >= 1
    assert counts[1] == counts[0]


@pytest.mark.nightly
def test_a_server_that_is_away_for_the_whole_search_changes_nothing(tmp_path: Path) -> None:
    started_at = time.monotonic()
    uri = f"http://127.0.0.1:{free_port()}"
    took_s: dict[str, list[float]] = {"with": [], "without": []}
    for repeat in range(2):  # One with a tracking database, one without a server, and again.
        for name, changes in (("with", {}), ("without", {"tracking": {"uri": uri}})):
            study = Study(tmp_path / f"{name}-{repeat}", trials=8, changes=dict(changes))
            begun_at = time.monotonic()
            study.finish()
            took_s[name].append(time.monotonic() - begun_at)
            assert study.tally().is_clean
    extra_s = min(took_s["without"]) - min(took_s["with"])
    promise(
        "F7 MLflow away for the whole search",
        promised="the same result, at most 2 % or 5 s longer",
        reached=f"{extra_s:+.1f} s of {min(took_s['with']):.0f} s",
        seed=None,
        started_at=started_at,
    )


@pytest.mark.nightly
def test_kills_during_the_registration_leave_an_alias_on_a_whole_model(tmp_path: Path) -> None:
    started_at, generator = time.monotonic(), random.Random(SEED)
    study = Study(tmp_path, trials=2)
    study.finish()
    for number in range(KILLS):
        # A front that is not registered yet: the database is that of before.
        for path in study.root.glob("mlflow*"):
            path.rename(tmp_path / f"{number}-{path.name}")
        with study.searching() as run:
            run.wait_for("registering the front")
            time.sleep(generator.uniform(0.0, 3.0))
            kill(run)
        pulled = study.command("pull", "news", "-o", tmp_path / f"pulled-{number}", "--root", study.root)
        assert pulled.wait() in (0, 2), pulled.errors  # The whole model, or none of this name yet.
        study.finish()
        again = study.command("pull", "news", "-o", tmp_path / f"again-{number}", "--root", study.root)
        assert again.wait() == 0, again.errors
    promise(
        "F19 kill -9 during the registration",
        promised="20 kills: an alias leads to a whole, verified model or does not exist",
        reached=f"{KILLS} of {KILLS}",
        seed=SEED,
        started_at=started_at,
    )
