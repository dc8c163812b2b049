"""The databases' script against a real PostgreSQL, started for these tests on a free port of 127.0.0.1."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest

from autoopt.search.backends.optuna_board import reading_storage
from autoopt.search.backends.optuna_storage import storage_at
from tests.places import ROOT
from tests.servers import free_port

DOCKER = ROOT / "docker"
_INSTALLED = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
_PATH = os.pathsep.join([*_INSTALLED, os.environ["PATH"]])
_INITDB = shutil.which("initdb", path=_PATH)
_IS_ROOT = os.getuid() == 0
_ACCOUNT = "postgres"
"""Runs the server where we are root, which PostgreSQL refuses."""

if _INITDB is None or (_IS_ROOT and _ACCOUNT not in {entry.pw_name for entry in pwd.getpwall()}):
    pytest.skip("PostgreSQL is not installed (apt-get install postgresql)", allow_module_level=True)


@dataclass(frozen=True)
class Server:
    folder: Path
    port: int

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run as the server's own account."""
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
            user=_ACCOUNT if _IS_ROOT else None,
            env={"PATH": _PATH, "LC_ALL": "C", "PGPORT": str(self.port), "PGCONNECT_TIMEOUT": "10", **environment},
        )

    def init_databases(self, secrets: Path) -> subprocess.CompletedProcess[str]:
        return self.run(
            "bash",
            str(self.folder / "init-databases.sh"),
            PGHOST=str(self.folder),
            PGPASSWORD=(self.secrets / "postgres_password").read_text(),
            AUTOOPT_SECRETS=str(secrets),
        )

    def ask(self, role: str, database: str, query: str, *, file: str) -> subprocess.CompletedProcess[str]:
        """One query over TCP; ``file`` holds the password."""
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        who = ["--host=127.0.0.1", f"--username={role}", f"--dbname={database}"]
        return self.run("psql", *options, *who, f"--command={query}", PGPASSWORD=(self.secrets / file).read_text())

    def as_admin(self, database: str, query: str) -> str:
        answer = self.ask("postgres", database, query, file="postgres_password")
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def as_autoopt(self, query: str) -> subprocess.CompletedProcess[str]:
        return self.ask("autoopt_rw", "optuna", query, file="optuna_password")

    def as_dashboard(self, query: str) -> subprocess.CompletedProcess[str]:
        return self.ask("dashboard_ro", "optuna", query, file="dashboard_password")


@pytest.fixture(scope="module")
def empty_server() -> Iterator[Server]:
    # Not pytest's folder: the server's account may not enter it.
    server = Server(Path(tempfile.mkdtemp(prefix="autoopt-postgres-")), free_port())
    subprocess.run(["sh", DOCKER / "make-secrets.sh", server.secrets], check=True, capture_output=True)
    shutil.copy(DOCKER / "init-databases.sh", server.folder)
    if _IS_ROOT:
        for path in (server.folder, *server.folder.rglob("*")):
            shutil.chown(path, _ACCOUNT)
    password_file = f"--pwfile={server.secrets / 'postgres_password'}"
    made = server.run("initdb", "--pgdata=data", "--auth=scram-sha-256", "--username=postgres", password_file)
    assert made.returncode == 0, made.stderr
    options = f"-h 127.0.0.1 -p {server.port} -k {server.folder} -c fsync=off -c log_statement=none"
    started = server.run("pg_ctl", "--pgdata=data", "--log=log", "--wait", f"--options={options}", "start")
    assert started.returncode == 0, started.stdout + started.stderr
    yield server
    server.run("pg_ctl", "--pgdata=data", "--mode=immediate", "--wait", "stop")
    shutil.rmtree(server.folder)


@pytest.fixture(scope="module")
def server(empty_server: Server) -> Server:
    ended = empty_server.init_databases(empty_server.secrets)
    assert ended.returncode == 0, ended.stderr
    made = empty_server.as_autoopt("CREATE TABLE trials (number integer); INSERT INTO trials VALUES (7)")
    assert made.returncode == 0, made.stderr
    return empty_server


@pytest.mark.parametrize("name", ["optuna_password", "dashboard_password", "mlflow_password"])
def test_nothing_is_made_where_a_secret_is_missing(empty_server: Server, name: str) -> None:
    some = empty_server.folder / f"without-{name}"
    shutil.copytree(empty_server.secrets, some, ignore=shutil.ignore_patterns(name))
    some.chmod(0o755)
    before = empty_server.as_admin("postgres", "SELECT count(*) FROM pg_roles")
    ended = empty_server.init_databases(some)
    assert ended.returncode == 1
    assert f"{name} is missing or empty; docker/make-secrets.sh makes it" in ended.stderr
    assert empty_server.as_admin("postgres", "SELECT count(*) FROM pg_roles") == before


def test_the_three_roles_can_log_in_and_nothing_more(server: Server) -> None:
    found = server.as_admin(
        "postgres",
        "SELECT rolname, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls FROM pg_roles "
        "WHERE rolcanlogin AND rolname <> 'postgres' ORDER BY 1",
    )
    assert found.splitlines() == ["autoopt_rw|f", "dashboard_ro|f", "mlflow_rw|f"]


def test_passwords_are_kept_as_scram_and_are_in_no_log(server: Server) -> None:
    kept = server.as_admin("postgres", "SELECT left(rolpassword, 14) FROM pg_authid WHERE rolpassword IS NOT NULL")
    assert set(kept.splitlines()) == {"SCRAM-SHA-256$"}
    log = (server.folder / "log").read_text()
    assert "ready to accept connections" in log
    assert not any(path.read_text() in log for path in server.secrets.iterdir())


def test_a_run_that_fails_leaves_no_password_in_the_log(server: Server) -> None:
    again = server.init_databases(server.secrets)
    assert again.returncode != 0
    assert 'role "autoopt_rw" already exists' in again.stderr
    log = (server.folder / "log").read_text()
    assert not any(path.read_text() in log + again.stderr for path in server.secrets.iterdir())


def test_a_wrong_password_is_refused(server: Server) -> None:
    answer = server.ask("autoopt_rw", "optuna", "SELECT 1", file="mlflow_password")
    assert answer.returncode == 2
    assert "password authentication failed" in answer.stderr


def test_the_dashboard_reads_tables_that_were_made_after_it(server: Server) -> None:
    assert server.as_dashboard("SELECT number FROM trials").stdout.strip() == "7"


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO trials VALUES (8)",
        "UPDATE trials SET number = 8",
        "DELETE FROM trials",
        "TRUNCATE trials",
        "DROP TABLE trials",
        "CREATE TABLE mine (number integer)",
        "CREATE TEMPORARY TABLE mine (number integer)",
    ],
)
def test_the_dashboard_cannot_write_even_where_it_asks_for_it(server: Server, query: str) -> None:
    refused = server.as_dashboard(query)
    assert "read-only transaction" in refused.stderr
    insisting = server.as_dashboard(f"SET default_transaction_read_only = off; BEGIN READ WRITE; {query}; COMMIT")
    assert insisting.returncode != 0
    assert "permission denied" in insisting.stderr or "must be owner" in insisting.stderr
    assert server.as_autoopt("SELECT number FROM trials").stdout.strip() == "7"


@pytest.mark.parametrize(
    ("role", "file", "database"),
    [
        ("dashboard_ro", "dashboard_password", "mlflow"),
        ("autoopt_rw", "optuna_password", "mlflow"),
        ("mlflow_rw", "mlflow_password", "optuna"),
        ("mlflow_rw", "mlflow_password", "postgres"),
    ],
)
def test_a_role_cannot_enter_the_database_of_another(server: Server, role: str, file: str, database: str) -> None:
    answer = server.ask(role, database, "SELECT 1", file=file)
    assert answer.returncode == 2
    assert "permission denied for database" in answer.stderr


def test_mlflow_owns_its_database(server: Server) -> None:
    made = server.ask("mlflow_rw", "mlflow", "CREATE TABLE runs (id integer)", file="mlflow_password")
    assert made.returncode == 0, made.stderr


def test_trials_are_written_whole_and_numbered_once_by_all_who_search(server: Server) -> None:
    made = server.as_autoopt("CREATE SCHEMA search")
    assert made.returncode == 0, made.stderr
    password = (server.secrets / "optuna_password").read_text()
    address = (
        f"postgresql+psycopg://autoopt_rw:{password}@127.0.0.1:{server.port}/optuna?options=-csearch_path%3Dsearch"
    )
    storages = [storage_at(address) for _ in range(4)]
    study = optuna.create_study(storage=storages[0], study_name="shared", directions=["maximize", "minimize"])
    drawn_from: dict[str, optuna.distributions.BaseDistribution] = {"n": optuna.distributions.IntDistribution(1, 8)}
    states = optuna.trial.TrialState

    def searched(place: int) -> int:
        running = optuna.trial.create_trial(
            state=states.RUNNING, params={"n": 3}, distributions=drawn_from, user_attrs={"record": place}
        )
        number = storages[place % 4].begin_trial("shared", running)
        storages[place % 4].end_trial(
            "shared", number, states.COMPLETE, [0.9, place], {"record": -place}, {"constraints": [0.1]}
        )
        return int(number)

    with ThreadPoolExecutor(4) as threads:
        numbers = list(threads.map(searched, range(40)))
    assert sorted(numbers) == list(range(40))
    ended = [study.get_trials()[number] for number in numbers]
    assert [trial.values for trial in ended] == [[0.9, place] for place in range(40)]
    assert [trial.user_attrs for trial in ended] == [{"record": -place} for place in range(40)]
    for storage in storages:
        storage.engine.dispose()


def test_a_dashboard_of_the_writing_role_cannot_write_either(server: Server) -> None:
    assert server.as_autoopt("CREATE SCHEMA viewed").returncode == 0
    password = (server.secrets / "optuna_password").read_text()
    address = (
        f"postgresql+psycopg://autoopt_rw:{password}@127.0.0.1:{server.port}/optuna?options=-csearch_path%3Dviewed"
    )
    writing, storage = storage_at(address), reading_storage(address)
    optuna.create_study(storage=writing, study_name="shared")
    number = storage.get_study_id_from_name("shared")
    with pytest.raises(optuna.exceptions.StorageInternalError) as refused:
        storage.delete_study(number)
    assert "read-only transaction" in str(refused.value.__cause__)
    assert [study.study_name for study in storage.get_all_studies()] == ["shared"]
    for opened in (writing, storage):
        opened.engine.dispose()
