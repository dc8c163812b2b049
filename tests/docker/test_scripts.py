import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.places import ROOT

DOCKER = ROOT / "docker"
SCRIPTS = sorted(DOCKER.glob("*.sh"))
NAMES = {
    "postgres_password",
    "optuna_password",
    "dashboard_password",
    "mlflow_password",
    "mlflow_admin_password",
    "mlflow_session_key",
    "ray_token",
}


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    assert run("sh", DOCKER / "make-secrets.sh", tmp_path / "secrets").returncode == 0
    return tmp_path / "secrets"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses_and_may_be_run(script: Path) -> None:
    assert run("bash", "-n", script).stderr == ""
    assert script.stat().st_mode & stat.S_IXUSR


def test_secrets_are_made_of_256_random_bits_each_in_a_folder_that_is_closed(secrets: Path) -> None:
    made = {path.name: path.read_text() for path in secrets.iterdir()}
    assert set(made) == NAMES
    assert all(len(value) == 64 and int(value, 16) for value in made.values())
    assert len(set(made.values())) == len(NAMES)
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o444}


def test_a_secret_that_exists_is_kept_and_an_empty_one_made_again(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    (secrets / "ray_token").unlink()
    (secrets / "ray_token").touch()
    run("sh", DOCKER / "make-secrets.sh", secrets)
    after = {path.name: path.read_text() for path in secrets.iterdir()}
    assert {name for name in NAMES if after[name] != before[name]} == {"ray_token"}
    assert len(after["ray_token"]) == 64


NEEDED = {
    "schema": ["optuna_password"],
    "dashboard": ["dashboard_password"],
    "mlflow": ["mlflow_password", "mlflow_admin_password", "mlflow_session_key"],
    "ray-head": ["ray_token"],
    "ray-worker": ["ray_token"],
    "autoopt": ["optuna_password", "mlflow_admin_password"],
}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Stand-ins that print how they were called and what they were given."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("python", "gunicorn", "mlflow", "ray", "autoopt"):
        (folder / name).write_text('#!/bin/sh\necho "CALLED $(basename "$0") $*"\nenv\n')
        (folder / name).chmod(0o755)
    return folder


def serve(service: str, secrets: Path, programs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(
        "sh",
        DOCKER / "serve.sh",
        service,
        *arguments,
        PATH=f"{programs}:{os.environ['PATH']}",
        AUTOOPT_SECRETS=str(secrets),
        AUTOOPT_SCRATCH=str(secrets.parent),
        AUTOOPT_HEAD_ADDRESS="10.0.0.1",
    )


@pytest.mark.parametrize(("service", "name"), [(service, name) for service, names in NEEDED.items() for name in names])
@pytest.mark.parametrize("empty", [True, False])
def test_a_service_does_not_start_without_its_secret(
    secrets: Path, programs: Path, service: str, name: str, empty: bool
) -> None:
    (secrets / name).unlink()
    if empty:
        (secrets / name).touch()
    ended = serve(service, secrets, programs)
    assert ended.returncode == 5
    assert f"{name} is missing or empty; docker/make-secrets.sh makes it" in ended.stderr
    assert "CALLED" not in ended.stdout


@pytest.mark.parametrize("service", NEEDED)
def test_no_secret_is_on_a_command_line(secrets: Path, programs: Path, service: str) -> None:
    ended = serve(service, secrets, programs)
    assert ended.returncode == 0
    called = ended.stdout.splitlines()[0]
    assert called.startswith("CALLED ")
    assert not any(path.read_text() in called for path in secrets.iterdir())


def test_what_a_service_writes_down_is_for_its_own_eyes(secrets: Path, programs: Path) -> None:
    serve("mlflow", secrets, programs)
    assert stat.S_IMODE((secrets.parent / "mlflow-auth.ini").stat().st_mode) == 0o600


def test_mlflow_asks_for_a_password_and_runs_no_jobs(secrets: Path, programs: Path) -> None:
    lines = serve("mlflow", secrets, programs).stdout.splitlines()
    assert "--app-name basic-auth" in lines[0]
    assert "--allowed-hosts mlflow:5000,localhost:5000,127.0.0.1:5000" in lines[0]
    assert "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false" in lines
    assert "default_permission = NO_PERMISSIONS" in (secrets.parent / "mlflow-auth.ini").read_text()


@pytest.mark.parametrize("service", ["ray-head", "ray-worker", "autoopt"])
def test_ray_demands_its_token(secrets: Path, programs: Path, service: str) -> None:
    lines = serve(service, secrets, programs).stdout.splitlines()
    assert "RAY_AUTH_MODE=token" in lines
    assert f"RAY_AUTH_TOKEN_PATH={secrets / 'ray_token'}" in lines


def test_the_command_goes_through_with_the_addresses_of_the_stack(secrets: Path, programs: Path) -> None:
    lines = serve("autoopt", secrets, programs, "search", "two words.yaml").stdout.splitlines()
    assert lines[0] == "CALLED autoopt search two words.yaml"
    assert f"AUTOOPT_DATABASE_PASSWORD={(secrets / 'optuna_password').read_text()}" in lines


def test_an_unknown_service_is_refused_with_those_that_there_are(secrets: Path, programs: Path) -> None:
    ended = serve("mlfow", secrets, programs)
    assert ended.returncode == 2
    assert "no service 'mlfow'; there are schema, dashboard, mlflow" in ended.stderr
