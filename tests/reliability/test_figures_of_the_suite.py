"""Promises that the ordinary tests keep case by case: counted here for the report."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.reliability.harness import promise

SUITES = {
    "F12 damaged files": (
        "flips, cuts and zeroed tails of records, checkpoints, stages and models: 0 used",
        ("tests/strategies/system/test_checked_files.py", "tests/strategies/training/test_checkpoints.py"),
        ("tests/search/trial/test_stage_store.py", "tests/strategies/test_saving.py"),
    ),
    "F13 values that are no numbers": (
        "none on a front, no row RUNNING",
        ("tests/search/study/test_driver.py", "-k", "finite or nan or number"),
    ),
    "F15 bad data and experiments": (
        "at least 40 of data and 30 of experiments: code 2, the place, nothing written",
        ("tests/search/cli/test_bad_data_ends_a_command.py", "tests/search/experiment/test_bad_experiments.py"),
    ),
    "F16 hostile files and names": (
        "no canary, no file outside the root",
        ("tests/objectives/models/test_model_folder.py", "tests/search/backends/test_mlflow_pull.py"),
        ("tests/search/experiment/test_yaml_file.py", "tests/search/test_names.py"),
    ),
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", SUITES)
def test_the_cases_of_a_promise_pass(name: str) -> None:
    started_at = time.monotonic()
    promised, *parts = SUITES[name]
    words = [word for part in parts for word in part]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-3000:]
    count = re.search(r"(\d+) passed", ended.stdout)
    assert count
    promise(name, promised=str(promised), reached=f"{count[1]} cases pass", seed=None, started_at=started_at)


@pytest.mark.nightly
def test_disturbed_measurements_are_flagged_and_quiet_ones_are_not(tmp_path: Path) -> None:
    started_at = time.monotonic()
    figures = tmp_path / "figures.json"
    script = "tests.benchmarks.measurement_trust"
    command = [sys.executable, "-m", script, "--quick", "--only", "crowded", "quiet", "--json", figures]
    subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    findings = json.loads(figures.read_text(encoding="utf-8"))
    reached = "; ".join(f"{line['name']}: {line['kept']} of {line['runs']} right" for line in findings)
    promise(
        "F14 disturbed measurements",
        promised="flagged if disturbed at least 95 %, if quiet at most 5 %",
        reached=reached,
        seed=None,
        started_at=started_at,
    )
    assert [line["name"] for line in findings if line["passed"] is False] == []
