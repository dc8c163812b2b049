"""Adding a cost, a task or a strategy is adding one file: nothing else is edited, and everything knows it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.search.samples import write_experiment

COST = '''"""Number of files of the saved candidate."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement


class FileCount(Cost):
    """A made-up cost."""

    dimension = units.COUNT
    role = Role.SPACE
    label = "files"
    exact = True

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        count = len(list(serving.folder.iterdir()))
        return (Measurement.exact(self.name, count, "files", self.direction),)
'''
STRATEGY = '''"""Multiply the weights of the head (Nobody 2026, "An example")."""

from __future__ import annotations

from typing import Annotated

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy


class HeadScaling(Strategy):
    """Sharper answers, the same classes.

    ``factor``: above 1 is sharper.
    """

    factor: Annotated[float, Choice(0.5, 2.0)] = 2.0

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        model = candidate.copy_model()
        model.classifier.weight.data.mul_(self.factor)
        return candidate.evolve(f"head times {self.factor}", model=model)
'''
TASK = '''"""Text classification under another name."""

from __future__ import annotations

from dataclasses import dataclass

from autoopt.objectives.tasks.text_classification import task


@dataclass(frozen=True)
class Moderation(task.TextClassification):
    """A made-up task."""
'''
SEARCH = """
import sys
from click.testing import CliRunner
from autoopt.search.cli.main import autoopt
from autoopt.search.backends.ray_tune import runner as ray_runner
from tests.search.samples import run_here
ray_runner.run = run_here
result = CliRunner().invoke(autoopt, sys.argv[1:])
sys.stdout.write(result.output)
sys.exit(result.exit_code)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package, and of its tests, to which a file can be added."""
    for folder in ("search", "objectives", "strategies", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "autoopt").mkdir()
    for folder in ("search", "objectives", "strategies"):
        (tmp_path / "autoopt" / folder).symlink_to(tmp_path / folder)
    return tmp_path


def run(tree: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{tree}", "COLUMNS": "200"}
    ended = subprocess.run(
        [sys.executable, *command], cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return ended.stdout


def autoopt(tree: Path, *arguments: str) -> str:
    return run(tree, "-c", "from autoopt.search.cli.main import main; main()", *arguments)


@pytest.mark.slow
def test_a_cost_is_one_file(tree: Path) -> None:
    (tree / "objectives" / "costs" / "file_count.py").write_text(COST, encoding="utf-8")
    file = write_experiment(
        tree / "given", objectives=["quality", "file_count"], budget=["file_count <= 100"], search={"trials": 2}
    )
    schema = json.loads(autoopt(tree, "plan", "--schema"))
    assert "file_count" in schema["properties"]["objectives"]["items"]["enum"]
    assert "file_count" in autoopt(tree, "plan", str(file))
    shown = run(tree, "-c", SEARCH, "search", str(file), "--root", str(tree / "root"))
    assert re.search(r"\bfiles \d+ files", shown), shown
    tests = run(tree, "-m", "pytest", "-n", "0", "-q", "-k", "file_count", "tests/objectives/costs/test_contract.py")
    assert "6 passed" in tests


@pytest.mark.slow
def test_a_strategy_is_one_file(tree: Path) -> None:
    (tree / "strategies" / "compression" / "head_scaling.py").write_text(STRATEGY, encoding="utf-8")
    file = write_experiment(tree / "given", strategies={"others": False, "full_finetuning": True, "head_scaling": True})
    assert "head_scaling" in autoopt(tree, "strategies")
    assert "head_scaling" in autoopt(tree, "plan", str(file))
    tests = run(tree, "-m", "pytest", "-n", "0", "-q", "-k", "head_scaling", "tests/strategies/test_contract.py")
    assert "passed" in tests


def test_a_task_is_one_folder(tree: Path) -> None:
    folder = tree / "objectives" / "tasks" / "moderation"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "task.py").write_text(TASK, encoding="utf-8")
    file = write_experiment(tree / "given", task="moderation")
    assert "moderation" in autoopt(tree, "tasks")
    assert "moderation" in json.dumps(json.loads(autoopt(tree, "plan", "--schema"))["$defs"]["TaskSection"])
    assert "moderation" in autoopt(tree, "plan", str(file))
