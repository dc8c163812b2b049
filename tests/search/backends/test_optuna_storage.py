"""Study databases that several processes open at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from autoopt.search.backends.optuna_storage import database_url
from tests import postgres

OPEN = """
import sys, time
from autoopt.search.backends.optuna_storage import quiet_optuna, storage_at

quiet_optuna()
print("ready", flush=True)
sys.stdin.readline()
storage = storage_at(sys.argv[1])
quiet_optuna().create_study(storage=storage, study_name=sys.argv[2])
"""


def open_at_once(url: str, count: int) -> list[str]:
    """Let as many processes open the database at the same time; return the errors of those that fail."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", OPEN, url, f"study-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate()[1] for process in processes]
    return [errors for errors, process in zip(ended, processes, strict=True) if process.returncode]


def test_searches_that_begin_at_once_in_a_new_root_all_get_its_database(tmp_path: Path) -> None:
    assert open_at_once(database_url(tmp_path / "root" / "optuna.db"), 4) == []


def test_searches_that_begin_at_once_on_a_new_server_all_get_its_database() -> None:
    with postgres.running_server() as server:
        assert open_at_once(server.create_database("studies"), 3) == []
