"""What can be checked of the stack without a container engine: nothing is open, root, unlimited or lacks a secret."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tests.places import ROOT

DOCKER = ROOT / "docker"
STACK: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = STACK["services"]
ONE_SHOT = {name for name, service in SERVICES.items() if service["restart"] == "no"}
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
every_service = pytest.mark.parametrize("name", SERVICES)


def test_the_stack_has_its_services() -> None:
    assert set(SERVICES) == {"postgres", "schema", "dashboard", "mlflow", "ray-head", "ray-worker"}


@every_service
def test_a_service_publishes_on_loopback_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert SERVICES[name].get("network_mode") is None


def test_the_database_and_the_workers_are_reached_from_inside_alone() -> None:
    assert STACK["networks"]["backend"]["internal"] is True
    for name in ("postgres", "schema", "ray-worker"):
        assert set(SERVICES[name]["networks"]) == {"backend"}
        assert "ports" not in SERVICES[name]


@every_service
def test_a_service_is_neither_root_nor_privileged(name: str) -> None:
    service = SERVICES[name]
    user, group = service["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "devices"} & set(service)
    assert "docker.sock" not in str(service)


def test_folders_of_the_repository_that_are_mounted_exist() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    mounted = {match[1] for volume in volumes if (match := re.search(r"(\.\.?/[^:}]*)", volume))}
    assert "../search/experiment/examples" in mounted
    assert [path for path in mounted if not (DOCKER / path).exists()] == []


@every_service
def test_a_service_writes_only_where_it_is_meant_to(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert any(entry.startswith("/tmp:") for entry in service["tmpfs"])  # noqa: S108
    assert all(re.search(r"size=\d+[mg]", entry) for entry in service["tmpfs"])
    for volume in service.get("volumes", []):
        source, *_ = volume.rpartition(":/")
        assert volume.endswith(":ro") or source in STACK["volumes"]


@every_service
def test_a_service_has_limits_and_its_log_is_rotated(name: str) -> None:
    service = SERVICES[name]
    assert service["pids_limit"] > 0
    assert re.search(r"\d+[mg]\}?$", service["mem_limit"])
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@every_service
def test_a_service_that_stays_is_restarted_and_its_health_is_known(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert name == "schema"
        return
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()


@every_service
def test_a_service_waits_for_the_health_of_what_it_needs(name: str) -> None:
    for needed, terms in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
        assert terms == {"condition": expected}
    assert name == "postgres" or SERVICES[name]["depends_on"]


@every_service
def test_a_service_has_its_secrets_from_files_and_none_in_its_environment(name: str) -> None:
    service = SERVICES[name]
    assert service["secrets"]
    assert set(service["secrets"]) <= set(STACK["secrets"])
    for variable, value in service.get("environment", {}).items():
        if re.search("PASSWORD|TOKEN|SECRET|KEY", variable):
            assert value.startswith("/run/secrets/")
            assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_every_secret_is_a_file_out_of_git_that_the_script_makes() -> None:
    made = (DOCKER / "make-secrets.sh").read_text(encoding="utf-8")
    for name, source in STACK["secrets"].items():
        assert source == {"file": f"secrets/{name}"}
        assert re.search(rf"\b{name}\b", made)
    assert "docker/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_every_image_has_a_pinned_tag_or_a_target_of_the_dockerfile() -> None:
    gpu = yaml.safe_load((DOCKER / "compose.cuda.yaml").read_text(encoding="utf-8"))["services"]
    assert set(gpu) <= set(SERVICES)
    for service in [*SERVICES.values(), *gpu.values()]:
        if "build" in service:
            assert (ROOT / "docker" / service["build"]["context"]).resolve() == ROOT
            assert (ROOT / service["build"]["dockerfile"]).is_file()
            assert service["build"]["target"] in stages()
        else:
            assert re.search(r":\d+\.\d+", service["image"])


def stages() -> dict[str, str]:
    """The Dockerfile's stages by name, each with what it stands on."""
    found = (re.fullmatch(r"FROM (\S+) AS (\S+)", line) for line in DOCKERFILE)
    return {match[2]: match[1] for match in found if match}


def lines_of(stage: str) -> list[str]:
    start = DOCKERFILE.index(f"FROM {stages()[stage]} AS {stage}")
    rest = DOCKERFILE[start + 1 :]
    end = next((place for place, line in enumerate(rest) if line.startswith("FROM ")), len(rest))
    return rest[:end]


def test_the_base_of_the_images_is_pinned() -> None:
    assert re.search(r"^ARG PYTHON=3\.11\.\d+-slim-\w+$", "\n".join(DOCKERFILE), re.MULTILINE)
    for base in stages().values():
        assert base == "python:${PYTHON}" or base in stages()


@pytest.mark.parametrize("stage", ["cpu", "cuda", "services"])
def test_an_image_ends_as_a_user_that_is_not_root(stage: str) -> None:
    users = [line.split()[1] for line in lines_of(stage) if line.startswith("USER ")]
    assert users == ["10001:10001"]


def test_what_the_images_copy_exists_and_is_let_into_the_build() -> None:
    let_in = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in let_in
    copied = [line.split()[1:-1] for line in DOCKERFILE if line.startswith("COPY ") and "--from=" not in line]
    paths = {path for line in copied for path in line if not path.startswith("--")}
    assert {"pyproject.toml", "search", "strategies", "objectives", "docker/serve.sh"} <= paths
    for path in paths:
        assert (ROOT / path).exists()
        assert {f"!{path}", *(f"!{folder}" for folder in Path(path).parents)} & set(let_in)
    taken = {match[1] for line in DOCKERFILE if (match := re.search(r"--from=(\S+)", line))}
    assert taken <= set(stages())


def test_no_secret_can_enter_an_image() -> None:
    assert not re.search(r"(?i)(password|token|secret)\s*=", "\n".join(DOCKERFILE))
    assert not any("secrets" in line for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()[1:])


def test_the_pinned_services_are_within_the_ranges_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*project["dependencies"], *project["optional-dependencies"]["cluster"]]
    ranges = {requirement.name: requirement.specifier for requirement in map(Requirement, listed)}
    for line in (DOCKER / "services.txt").read_text(encoding="utf-8").splitlines():
        pinned = Requirement(line)
        (pin,) = pinned.specifier
        assert pin.operator == "=="
        assert pinned.name == "gunicorn" or pin.version in ranges[pinned.name]
