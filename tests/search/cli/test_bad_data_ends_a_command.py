"""Data that cannot be used ends a command at once: code 2, place and remedy on stderr, and nothing is made."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from autoopt.search.cli.main import autoopt
from tests.search.bad_data import CASES, GOOD, BadData, write_models

COMMANDS = ("plan", "search")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the command runs."""
    folder = tmp_path / "nowhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def check(code: int, stdout: str, stderr: str, case: BadData) -> None:
    assert code == 2, stderr
    assert stdout == ""
    errors = [line for line in stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert re.search(case.message, errors[0])
    assert not re.search(r"[^\n -~\u00a0-\U0010ffff]", stderr)
    assert "Traceback" not in stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_command_ends_with_2_and_a_place_and_makes_nothing(
    tmp_path: Path, nowhere: Path, models: Path, command: str, case: BadData
) -> None:
    folder = tmp_path / "given"
    file = case.write(folder, models=models)
    before = sorted(folder.rglob("*"))
    result = CliRunner().invoke(autoopt, [command, str(file), "--root", str(tmp_path / "root")])
    check(result.exit_code, result.stdout, result.stderr, case)
    assert not (tmp_path / "root").exists()
    assert list(nowhere.iterdir()) == []
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("plan", "latin-1"),
        ("search", "a terminal escape in a file name"),
        ("search", "an answer that is not in its context"),
    ],
)
def test_a_process_of_its_own_ends_the_same(
    tmp_path: Path, nowhere: Path, models: Path, command: str, name: str
) -> None:
    file = CASES[name].write(tmp_path / "given", models=models)
    ran = subprocess.run(
        [sys.executable, "-m", "autoopt.search.cli.main", command, str(file), "--root", str(tmp_path / "root")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    check(ran.returncode, ran.stdout, ran.stderr, CASES[name])
    assert not (tmp_path / "root").exists()
    assert list(nowhere.iterdir()) == []


def test_there_are_cases_for_every_task_and_every_kind_of_file() -> None:
    from autoopt.objectives.file_formats import formats
    from autoopt.objectives.tasks import tasks

    named = {case.task if isinstance(case.task, str) else case.task["name"] for case in CASES.values()}
    files = " ".join(name for case in CASES.values() for name in case.files)
    assert len(CASES) >= 40
    assert set(tasks()) == named
    covered = {kind.read for suffix, kind in formats().items() if suffix in files}
    assert {kind.read for kind in formats().values()} == covered


@pytest.mark.parametrize("command", COMMANDS)
def test_a_byte_order_mark_and_what_is_doubtful_do_not_end_a_command(
    tmp_path: Path, nowhere: Path, models: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    test = "text,label\ntext 0,a\ntext 1,b\n\x1b[31mred,b\n"
    case = BadData("", {"a.csv": "\ufeff" + GOOD, "b.csv": test}, {"train": "a.csv", "test": "b.csv"})
    file = case.write(tmp_path / "given", models=models)
    monkeypatch.setattr("autoopt.search.cli.plan._preview", _stop)
    monkeypatch.setattr("autoopt.search.identity.lock.study_lock", _stop)
    result = CliRunner().invoke(autoopt, [command, str(file), "--root", str(tmp_path / "root")])
    assert "_DataAccepted" in result.stderr
    assert "warning: 2 of 40 training texts occur in test and were left out\n" in result.stderr


class _DataAccepted(Exception):
    """Raised in place of what follows once the data was accepted."""


def _stop(*_: object, **__: object) -> None:
    raise _DataAccepted
