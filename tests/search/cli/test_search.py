from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from autoopt.search.backends.ray_tune import runner as ray_runner
from autoopt.search.cli.main import autoopt
from autoopt.search.identity.lock import study_lock
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.study.driver import Driver
from autoopt.strategies.errors import EnvironmentProblem
from tests.search.samples import run_here, write_experiment


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(autoopt, list(map(str, arguments)))


@pytest.fixture
def root(tmp_path: Path, empty_mlflow_database: Path) -> Root:
    made = Root(tmp_path / "root")
    made.path.mkdir()
    shutil.copy(empty_mlflow_database, made.mlflow_database)
    return made


def test_nothing_feasible_ends_with_3_and_says_what_blocks_and_what_is_kept(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_runner, "run", run_here)
    file = write_experiment(tmp_path / "given", budget=["size <= 10kB"], search={"trials": 2})
    result = run("search", file, "--root", root.path)
    assert result.exit_code == 3, result.stderr
    assert "no model is within the budgets" in result.stdout
    assert "misses size <= 10kB by " in result.stderr
    assert f"To search with more trials: autoopt search {file} --trials 4 --root {root.path}" in result.stderr
    model = result.stderr.split("That model is in ")[1].split(". To search with")[0]
    assert (Path(model) / "autoopt.json").is_file()


def test_the_budget_proposed_by_an_infeasible_search_is_one_that_its_nearest_trial_meets(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_runner, "run", run_here)
    options = {"objectives": ["quality", "size"], "budget": ["size <= 1kB", "quality >= 1%"], "search": {"trials": 1}}
    result = run("search", write_experiment(tmp_path / "given", **options), "--root", root.path)
    assert result.exit_code == 3, result.stderr
    command = shlex.split(result.stderr.splitlines()[-1].split("meets: autoopt ")[1])
    assert command[:2] == ["front", "news"]
    proposed = run(*command)
    assert proposed.exit_code == 0, proposed.stderr
    assert "full_finetuning" in proposed.stdout
    nearest = run("front", "news", "--budget", "size <= 2kB", "--root", root.path)
    assert nearest.exit_code == 3
    assert "the nearest, trial 0, misses size <= 2kB by " in nearest.stderr
    unmeasured = run("front", "news", "--budget", "latency_p50 <= 0.6 * baseline", "--root", root.path)
    assert unmeasured.exit_code == 2
    assert "the study 'news' did not measure latency_p50, only parameters, quality, size" in unmeasured.stderr


def test_a_baseline_that_fails_ends_with_4(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(driver: Driver, folder: StudyFolder, **rest: Any) -> None:
        while assignment := driver.next():
            driver.record_result(assignment.number)  # The worker has left no result.

    monkeypatch.setattr(ray_runner, "run", dying)
    file = write_experiment(tmp_path / "given")
    result = run("search", file, "--root", root.path)
    assert result.exit_code == 4, result.stderr
    assert "the baseline failed with its worker died" in result.stderr
    assert f"are kept in {root.study('news').path}. To resume: autoopt search {file}" in result.stderr


def test_an_interrupted_search_ends_with_130_and_goes_on_with_the_line_that_it_prints(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(driver: Driver, folder: StudyFolder, **rest: Any) -> None:
        assert driver.next()
        driver.give_up_running("the search was stopped")
        raise KeyboardInterrupt

    file = write_experiment(tmp_path / "given", search={"trials": 1})
    monkeypatch.setattr(ray_runner, "run", interrupted)
    stopped = run("search", file, "--root", root.path)
    assert stopped.exit_code == 130, stopped.stderr
    assert stopped.stderr.splitlines()[-2] == "Error: stopped"
    status = run("status", "--root", root.path).stdout
    assert "interrupted" in status
    assert "To resume news: autoopt search " in status
    monkeypatch.setattr(ray_runner, "run", run_here)
    again = stopped.stderr.splitlines()[-1].split("To resume: autoopt ")[1].split()
    finished = run(*again)
    assert finished.exit_code == 0, finished.stderr


def test_without_ended_trials_the_note_says_only_how_to_go_on(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(driver: Driver, folder: StudyFolder, **rest: Any) -> None:
        assert driver.next()
        raise EnvironmentProblem("no Ray cluster")

    file = write_experiment(tmp_path / "given", search={"trials": 1})
    command = f"autoopt search {file} --root {root.path}"
    folder = root.study("news")
    with study_lock(folder.lock, study="news"):
        locked = run("search", file, "--root", root.path)
    assert locked.exit_code == 5, locked.stderr
    assert locked.stderr.splitlines()[-1] == f"To try again: {command}"
    monkeypatch.setattr(ray_runner, "run", unreachable)
    stopped = run("search", file, "--root", root.path)
    assert stopped.exit_code == 5, stopped.stderr
    assert stopped.stderr.splitlines()[-1] == f"To resume: {command}"
    folder.trials_table.write_text("trial,state\n0,running\n1,complete\n", encoding="utf-8")
    with study_lock(folder.lock, study="news"):
        refused = run("search", file, "--root", root.path)
    assert refused.stderr.splitlines()[-1] == f"Trials that have ended are kept in {folder.path}. To resume: {command}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "./nowhere"}, "there is no model folder"),
        ({"budget": ["latency_p50 <= 12"]}, "without a unit"),
        ({"data": {"source": "./nothing.csv"}}, "nothing.csv"),
        ({"search": {"trails": 3}}, "did you mean 'trials'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(
    root: Root, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    file = write_experiment(tmp_path / "given", **changes)
    result = run("search", file, "--root", root.path)
    assert result.exit_code == 2
    assert message in result.stderr
    assert all(line.startswith("Error: ") for line in result.stderr.splitlines())
    assert [path.name for path in root.path.iterdir()] == ["mlflow.db"]


def test_an_unknown_file_is_answered_with_the_examples(tmp_path: Path) -> None:
    result = run("search", "bbc-nws", "--root", tmp_path)
    assert result.exit_code == 2
    assert "did you mean 'bbc-news'" in result.stderr


def test_short_options_are_overrides_like_any_other(tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "given")
    wrong_time = run("search", file, "--root", tmp_path, "--timeout", "ten minutes")
    assert wrong_time.exit_code == 2
    assert "search.timeout" in wrong_time.stderr
    assert run("search", file, "--trials", "0").exit_code == 2


def test_the_command_to_resume_repeats_every_option(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(driver: Driver, folder: StudyFolder, **rest: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ray_runner, "run", interrupted)
    file = write_experiment(tmp_path / "given")
    options = ["--trials", "2", "--timeout", "10m", "--max-compute", "1h", "--no-warm-start", "--root", str(root.path)]
    stopped = run("search", file, "--set", "search.seed=3", *options)
    resume = stopped.stderr.splitlines()[-1].split("To resume: ")[1]
    assert resume == f"autoopt search {file} --set search.seed=3 {' '.join(options)}"
    again = run(*resume.split()[1:])
    assert again.exit_code == 130, again.stderr
