from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from autoopt.objectives.tasks import find_task, tasks
from autoopt.search.cli.main import autoopt


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(autoopt, ["tasks", *arguments])


def test_the_list_has_every_task_with_its_metrics() -> None:
    result = run()
    assert result.exit_code == 0
    for name in tasks():
        assert f" {name} " in result.output
        assert find_task(name).metrics[0] in result.output


def test_json_says_all_that_is_known_of_each_task() -> None:
    entries = json.loads(run("--json").output)
    assert [entry["name"] for entry in entries] == list(tasks())
    for entry in entries:
        assert entry["metrics"] == list(find_task(entry["name"]).metrics)
        assert entry["summary"].endswith(".")
        assert "text" in entry["example"]


@pytest.mark.parametrize("name", tasks())
def test_one_task_is_shown_with_its_description_and_its_metrics(name: str) -> None:
    result = run(name)
    assert result.exit_code == 0
    assert (find_task(name).__doc__ or "").split("\n")[0] in result.output
    assert ", ".join(find_task(name).metrics) in result.output
    assert json.loads(run(name, "--json").output) in json.loads(run("--json").output)


def test_a_misspelt_task_is_answered_with_the_nearest() -> None:
    result = run("sentence_pare")
    assert result.exit_code == 2
    assert "did you mean 'sentence_pair'" in result.stderr
