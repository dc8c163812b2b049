"""A PostgreSQL server for a test: Debian's binaries, a folder and a port of its own, no password."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import free_port

ACCOUNT = "postgres"
"""Runs the server where we are root, which PostgreSQL refuses."""
_IS_ROOT = os.getuid() == 0
_PATH = os.pathsep.join(
    [*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), os.environ["PATH"]]
)


@dataclass(frozen=True)
class Server:
    folder: Path
    port: int

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its address."""
        self._run("createdb", "--host=127.0.0.1", f"--port={self.port}", "--username=postgres", name)
        return self.url(name)

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        self._run("pg_ctl", "--pgdata=data", "--log=log", "--wait", f"--options={options}", "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "--pgdata=data", f"--mode={mode}", "--wait", "stop")

    def _run(self, *command: str) -> None:
        ended = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            cwd=self.folder,
            user=ACCOUNT if _IS_ROOT else None,
            env={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
        )
        assert ended.returncode == 0, ended.stderr


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server and stop it at the end; the test is skipped where PostgreSQL is not installed."""
    installed = shutil.which("initdb", path=_PATH) is not None
    if not installed or (_IS_ROOT and ACCOUNT not in {entry.pw_name for entry in pwd.getpwall()}):
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    # Not pytest's folder: the server's account may not enter it.
    server = Server(Path(tempfile.mkdtemp(prefix="autoopt-postgres-")), free_port())
    if _IS_ROOT:
        shutil.chown(server.folder, ACCOUNT)
    server._run("initdb", "--pgdata=data", "--auth=trust", "--username=postgres", "--encoding=UTF8")
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder)
