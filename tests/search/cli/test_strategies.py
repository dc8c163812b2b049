from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from autoopt.search.cli.main import autoopt
from autoopt.strategies.catalog import catalog
from autoopt.strategies.strategy import Strategy


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(autoopt, ["strategies", *arguments])


def test_the_list_has_every_strategy_of_the_catalog() -> None:
    result = run()
    assert result.exit_code == 0
    for name in catalog():
        assert f" {name} " in result.output


def test_json_says_all_that_the_catalog_knows() -> None:
    entries = json.loads(run("--json").output)
    assert [entry["name"] for entry in entries] == list(catalog())
    for entry in entries:
        strategy = catalog()[entry["name"]]
        assert entry["family"] == strategy.family
        assert entry["summary"] == strategy.summary()
        assert set(entry["knobs"]) | set(entry["settings"]) == set(strategy.model_fields)
        assert entry["needs"] == sorted(strategy.needs)


@pytest.mark.parametrize("strategy", catalog().values(), ids=list(catalog()))
def test_one_strategy_is_shown_with_its_description_and_every_default(strategy: type[Strategy]) -> None:
    result = run(strategy.name)
    assert result.exit_code == 0
    for field, info in strategy.model_fields.items():
        assert field in result.output
        assert str(info.default) in result.output
    assert (strategy.__doc__ or "").split("\n")[0] in result.output


def test_json_of_one_is_the_entry_of_the_list() -> None:
    assert json.loads(run("layer_drop", "--json").output) in json.loads(run("--json").output)


def test_a_misspelt_strategy_is_answered_with_the_nearest() -> None:
    result = run("layer_dorp")
    assert result.exit_code == 2
    assert "did you mean 'layer_drop'" in result.stderr
