"""One driver at a time for each study of a PostgreSQL server: real server, real processes."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoopt.search.identity import server_lock as module
from autoopt.search.identity.lock import study_lock
from autoopt.search.identity.owner import Holder
from autoopt.search.identity.server_lock import server_lock
from autoopt.strategies.errors import EnvironmentProblem, StudyLocked
from tests.places import ROOT
from tests.postgres import Server, running_server
from tests.servers import free_port

HOLD = """
import sys, time
from pathlib import Path
from autoopt.search.identity.lock import study_lock
with study_lock(Path(sys.argv[1]), study=sys.argv[2], url=sys.argv[3]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as started:
        yield started


@contextmanager
def holding(folder: Path, study: str, url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the study."""
    command = [sys.executable, "-c", HOLD, str(folder / "lock"), study, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def eventually(holds: Callable[[], bool], *, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.1)
    return False


def is_free(url: str, study: str, folder: Path) -> bool:
    try:
        with study_lock(folder / "lock", study=study, url=url):
            return True
    except StudyLocked:
        return False


def test_a_second_driver_from_another_folder_is_refused_and_told_of_the_first(server: Server, tmp_path: Path) -> None:
    with holding(tmp_path / "first", "news", server.url()) as process:
        named = f"process {process.pid} of {getpass.getuser()}@{socket.gethostname()} since 20"
        with (
            pytest.raises(StudyLocked, match=named) as refused,
            study_lock(tmp_path / "second" / "lock", study="news", url=server.url()),
        ):
            pass
        assert refused.value.exit_code == 5
        assert is_free(server.url(), "other", tmp_path / "third")
    assert eventually(lambda: is_free(server.url(), "news", tmp_path / "second"))


def test_studies_of_two_databases_of_one_server_do_not_meet(server: Server, tmp_path: Path) -> None:
    other = server.create_database("other")
    with holding(tmp_path / "first", "news", server.url()):
        assert is_free(other, "news", tmp_path / "second")


def test_of_drivers_started_at_once_exactly_one_goes_on(server: Server, tmp_path: Path) -> None:
    commands = [
        [sys.executable, "-c", HOLD, str(tmp_path / str(number) / "lock"), "race", server.url()] for number in range(4)
    ]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        for command in commands
    ]
    try:
        assert eventually(lambda: sum(process.poll() is not None for process in processes) == 3, seconds=60)
        errors = [process.communicate()[1] for process in processes if process.poll() is not None]
        (winner,) = [process for process in processes if process.poll() is None]
        assert all(f"StudyLocked: this study is being searched by process {winner.pid} of " in text for text in errors)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_lock_whose_connection_is_lost_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_INTERVAL_S", 0.2)
    with running_server() as server, server_lock(server.url(), "news", Holder.here()):
        assert not is_free(server.url(), "news", tmp_path)
        server.stop()
        server.start()
        assert eventually(lambda: not is_free(server.url(), "news", tmp_path))
        time.sleep(1.0)
        assert not is_free(server.url(), "news", tmp_path)


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    port = free_port()
    url = f"postgresql+psycopg://ada:secret@127.0.0.1:{port}/optuna"
    with (
        pytest.raises(EnvironmentProblem, match=f"127.0.0.1:{port}/optuna cannot be opened") as refused,
        study_lock(tmp_path / "lock", study="news", url=url),
    ):
        pass
    assert "secret" not in str(refused.value)
    assert refused.value.exit_code == 5


def test_a_sqlite_file_used_from_two_folders_is_locked_beside_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    with holding(tmp_path / "first", "news", url) as process:
        with (
            pytest.raises(StudyLocked, match=f"process {process.pid} of "),
            study_lock(tmp_path / "second" / "lock", study="news", url=url),
        ):
            pass
        assert is_free(url, "other", tmp_path / "second")
    assert os.path.exists(tmp_path / "shared.db.news.lock")  # noqa: PTH110
