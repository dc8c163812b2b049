from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner, Result

from autoopt.search.cli.main import Commands, autoopt
from autoopt.search.cli.options import command_line, note_on_failure
from autoopt.strategies import errors
from tests.places import ROOT

NAMES = (
    *("search", "plan", "status", "show", "front", "pull", "export", "predict", "convert", "sync"),
    *("strategies", "tasks", "dashboard", "cache", "doctor"),
)
HEAVY = ("torch", "transformers", "ray", "mlflow", "optuna", "sklearn", "pandas", "numpy")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(autoopt, list(arguments))


def raising(error: BaseException, note: str = "", folder: Path | None = None) -> Result:
    """How a command ends in which this is raised."""

    @click.group(cls=Commands)
    def group() -> None:
        """A group."""

    @group.command()
    def fail() -> NoReturn:
        with note_on_failure(lambda: note, folder=folder):
            raise error

    return CliRunner().invoke(group, ["fail"])


def test_help_lists_every_command_in_the_order_of_use() -> None:
    listed = [line.split()[0] for line in run("--help").output.split("Commands:")[1].splitlines() if line.strip()]
    assert listed == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_explains_itself(name: str, flag: str) -> None:
    result = run(name, flag)
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: autoopt {name} ")


def test_every_command_that_prints_a_result_has_json_except_the_one_that_serves() -> None:
    commands = [
        (f"{name} {inner}".strip(), command)
        for name, outer in autoopt.commands.items()
        for inner, command in (outer.commands.items() if isinstance(outer, click.Group) else [("", outer)])
    ]
    without = [name for name, command in commands if "as_json" not in {p.name for p in command.params}]
    assert without == ["dashboard"]


def test_the_version_is_said() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.output.startswith("autoopt")


@pytest.mark.parametrize("arguments", [["--help"], ["strategies"], ["search", "--help"], ["--version"]])
def test_help_and_catalog_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from autoopt.search.cli.main import autoopt\n"
        f"autoopt({arguments!r}, standalone_mode=False)\n"
        f"sys.stderr.write(','.join(m for m in {HEAVY!r} if m in sys.modules))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    assert ended.stdout


def test_an_unknown_command_is_a_usage_error() -> None:
    result = run("serch")
    assert result.exit_code == 2
    assert "serch" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ExperimentError("bad"), 2),
        (errors.UnknownName("bad"), 2),
        (errors.StudyLocked("bad"), 5),
        (errors.CorruptArtefact("bad"), 5),
        (errors.TrialError("bad"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_a_line(error: BaseException, code: int) -> None:
    result = raising(error)
    assert result.exit_code == code
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr


def test_every_line_of_a_message_is_marked_and_harmless() -> None:
    result = raising(errors.ExperimentError("a.yaml:1: first\na.yaml:2: \x1b[2Jsecond"))
    assert result.stderr == "Error: a.yaml:1: first\nError: a.yaml:2: [2Jsecond\n"


def test_what_is_safe_and_how_to_go_on_is_said_below_the_error() -> None:
    assert raising(KeyboardInterrupt(), note="To resume: autoopt search x").stderr.splitlines() == [
        "Error: stopped",
        "To resume: autoopt search x",
    ]
    assert "To resume" not in raising(errors.DataError("mend it"), note="To resume: autoopt search x").stderr


def test_what_is_not_foreseen_is_one_line_and_a_file_with_the_traceback(tmp_path: Path) -> None:
    result = raising(ZeroDivisionError("a defect"), note="To resume: autoopt search x", folder=tmp_path)
    assert result.exit_code == 1
    first, note = result.stderr.splitlines()
    (trace,) = tmp_path.iterdir()
    assert first == f"Error: ZeroDivisionError: a defect; the traceback is in {trace}. Please report it"
    assert note == "To resume: autoopt search x"
    assert "raise error" in trace.read_text()


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 5, "no space is left on the disk of "),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), 5, "autoopt cache prune"),
        (PermissionError(errno.EACCES, "Permission denied", "/nowhere"), 5, "/nowhere: Permission denied; choose"),
        (OSError(errno.EROFS, "Read-only file system", "/nowhere"), 5, "/nowhere: Read-only file system; choose"),
        (UnicodeEncodeError("utf-8", "caf\udce9", 3, 4, "surrogates not allowed"), 2, "is not valid UTF-8"),
    ],
)
def test_what_the_machine_refuses_is_one_line_with_a_remedy(error: Exception, code: int, part: str) -> None:
    result = raising(error, note="To resume: autoopt search x")
    assert result.exit_code == code
    assert result.stderr.startswith("Error: ")
    assert part in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m autoopt.search.cli.main strategies --json | head -n 1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] in ("0", "141")
    assert result.stderr == ""


def test_a_request_to_terminate_ends_with_143_and_the_same_note() -> None:
    program = (
        "import click, time\n"
        "from autoopt.search.cli.main import autoopt\n"
        "from autoopt.search.cli.options import note_on_failure\n"
        "@autoopt.command()\n"
        "def wait():\n"
        "    with note_on_failure(lambda: 'To resume: autoopt wait'):\n"
        "        click.echo('ready')\n"
        "        time.sleep(60)\n"
        "autoopt(['wait'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.stderr.read().splitlines() == ["Error: stopped", "To resume: autoopt wait"]
    assert process.returncode == 143


def test_the_handler_of_the_caller_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    run("strategies")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_line_can_be_typed_as_it_is_printed(tmp_path: Path) -> None:
    line = command_line(
        "search", "my file.yaml", set=("a=b c", "d=1"), trials=None, root=tmp_path, force=True, json=False
    )
    assert line == f"autoopt search 'my file.yaml' --set 'a=b c' --set d=1 --root {tmp_path} --force"


def test_every_command_that_a_message_names_exists() -> None:
    named: set[tuple[str, str]] = set()
    for layer in ("search", "objectives", "strategies"):
        for path in (ROOT / layer).rglob("*.py"):
            named |= set(re.findall(r"'autoopt ([a-z]+)(?: ([a-z]+))?", path.read_text(encoding="utf-8")))
    assert {("cache", "prune"), ("plan", ""), ("sync", "")} <= named
    for command, second in named:
        assert command in autoopt.commands
        group = autoopt.commands[command]
        if isinstance(group, click.Group):
            assert second in group.commands, f"autoopt {command} {second}"
