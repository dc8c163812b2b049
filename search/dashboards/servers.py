"""Run the dashboards as child processes on the loopback address, and stop them together."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.search.dashboards.optuna_site import ADDRESS_VARIABLE, LOOPBACK, TOKEN_VARIABLE
from autoopt.search.dashboards.read_only_site import TOKEN_PARAMETER
from autoopt.search.paths import Root
from autoopt.strategies.errors import EnvironmentProblem

if TYPE_CHECKING:
    from autoopt.search.experiment.experiment import Experiment

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Server:
    """Command, port and environment of a server."""

    name: str
    port: int
    command: Sequence[str]
    environment: Mapping[str, str]
    query: str = ""
    """Query of the address to open, such as a token."""
    remark: str = ""
    """What somebody who opens it can do."""

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.port}{self.query}"


def optuna_dashboard(root: Root, experiment: Experiment, port: int) -> Server:
    """Return the server of the Optuna dashboard on the study's database, read-only and behind a new token."""
    from autoopt.search.backends.optuna_storage import database_url

    address = experiment.storage.address() or database_url(root.optuna_database)
    command = [sys.executable, "-m", "autoopt.search.dashboards.optuna_site", str(port)]
    token = secrets.token_urlsafe(24)
    environment = {ADDRESS_VARIABLE: address, TOKEN_VARIABLE: token}
    return Server("Optuna dashboard", port, command, environment, f"/?{TOKEN_PARAMETER}={token}", "read-only")


def mlflow_ui(root: Root, port: int) -> Server:
    """Return the server of the MLflow UI on the database under the root.

    MLflow itself refuses foreign hosts and what pages of other sites send. Whoever has an account on this machine may
    edit and delete runs, as its interface can.
    """
    from autoopt.search.backends.mlflow_client import tracking_uri
    from autoopt.search.backends.mlflow_moves import mend_addresses

    mend_addresses(root)

    command = [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    environment = {
        "MLFLOW_BACKEND_STORE_URI": tracking_uri(None, root),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{host}:*" for host in (LOOPBACK, "localhost", "[[]::1]")),
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": root.mlflow_artifacts.absolute().as_uri(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # Saves 700 MB; no jobs run here.
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    return Server("MLflow", port, command, environment, remark="it can edit and delete runs, and has no password")


def check_free(ports: Sequence[int]) -> None:
    """Raise ``EnvironmentProblem`` if a port is in use or two are the same."""
    if len(set(ports)) < len(ports):
        raise EnvironmentProblem(f"both dashboards would use port {ports[0]}; change --port or --mlflow-port")
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError as error:
                raise EnvironmentProblem(
                    f"port {port} is not available ({error.strerror}); choose another with --port or --mlflow-port"
                ) from None


@contextmanager
def serve(servers: Sequence[Server], log: Path) -> Iterator[Callable[[], None]]:
    """Start the servers and yield, once all of them accept connections, a function that blocks until one exits.

    All are stopped on leaving the context. Raises ``EnvironmentProblem`` if one exits or does not answer.
    """
    started: list[tuple[Server, subprocess.Popen[bytes]]] = []
    with log.open("wb") as output:
        try:
            for server in servers:
                environment = {**os.environ, **server.environment}
                process = subprocess.Popen(  # noqa: S603
                    server.command, env=environment, stdout=output, stderr=output, start_new_session=True
                )
                started.append((server, process))
            _wait_until_ready(started, log)
            yield lambda: _wait_until_exit(started, log)
        finally:
            _stop(process for _, process in started)


def _wait_until_ready(started: Sequence[tuple[Server, subprocess.Popen[bytes]]], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    for server, process in started:
        while not _accepts_connections(server.port):
            _check_alive(server, process, log)
            if time.monotonic() > deadline:
                raise EnvironmentProblem(f"{server.name} did not answer within {START_TIMEOUT_S:.0f} s; see {log}")
            time.sleep(0.2)


def _wait_until_exit(started: Sequence[tuple[Server, subprocess.Popen[bytes]]], log: Path) -> None:
    while True:
        for server, process in started:
            _check_alive(server, process, log)
        time.sleep(0.5)


def _check_alive(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        raise EnvironmentProblem(f"{server.name} exited with code {process.returncode}; see {log}")


def _accepts_connections(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def _stop(processes: Iterator[subprocess.Popen[bytes]]) -> None:
    """Stop each process with its children, which share its process group."""
    running = list(processes)
    for process in running:
        _signal(process, signal.SIGTERM)
    for process in running:
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)
