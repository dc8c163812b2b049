"""A search over two base models, and all that shows its results."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from autoopt.search import SearchResult, load_model, search
from autoopt.search.backends.mlflow_client import open_client
from autoopt.search.backends.mlflow_registry import registered
from autoopt.search.backends.mlflow_runs import search_all
from autoopt.search.backends.ray_tune import runner as ray_runner
from autoopt.search.cli.main import autoopt
from autoopt.search.experiment.experiment import load_experiment
from autoopt.search.experiment.opening import find_models, open_data
from autoopt.search.identity.fingerprints import Inputs
from autoopt.search.paths import Root
from autoopt.search.space.recipe import Recipe
from autoopt.search.study.assembly import checked
from autoopt.search.study.warm_start import best_known
from autoopt.strategies.errors import ExperimentError, ModelError
from autoopt.strategies.networks.architectures import layers
from autoopt.strategies.saving import describe
from tests.search.samples import run_here, write_experiment, write_model

pytestmark = pytest.mark.slow

STRATEGIES = {"others": False, "full_finetuning": {"epochs": [2, 3]}, "half_precision": True}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment on the tiny model of four layers, the baseline's, and on one of two layers."""
    folder = tmp_path_factory.mktemp("several")
    write_model(folder / "small", layers=2)
    models = [str(folder / "model"), str(folder / "small")]
    return write_experiment(
        folder,
        model=models,
        strategies=STRATEGIES,
        objectives=["quality", "size"],  # Latencies would take most of the time.
        search={"trials": 3, "seed": 0},
    )


@pytest.fixture(scope="module")
def result(file: Path) -> SearchResult:
    """The search in this process, without Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_runner, "run", run_here)
        return search(file, root=file.parent / "root")


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(autoopt, [*map(str, arguments)], catch_exceptions=False)


def test_the_front_shows_the_base_model_of_each_row(result: SearchResult) -> None:
    assert {record.recipe.model for record in result.trials} == {"", "small"}
    assert result.champion is not None
    assert any(model.record.recipe.model == "small" for model in result.front)
    shown = run("front", "news", "--root", result.root.path)
    header, *rows = [line for line in shown.stdout.splitlines() if line.strip()][1:]
    assert header.split()[:2] == ["trial", "model"]
    by_trial = {cells[0]: cells[1] for row in rows if len(cells := row.split()) > 2 and cells[0].isdecimal()}
    assert by_trial["0"] == "model"
    assert "small" in by_trial.values()
    rejudged = run("front", "news", "--budget", "size<=10MB", "--root", result.root.path)
    assert "model" in rejudged.stdout
    assert "small" in rejudged.stdout


def test_the_best_model_of_the_small_base_has_its_layers_and_says_where_it_comes_from(
    result: SearchResult, file: Path
) -> None:
    record = next(model.record for model in result.front if model.record.recipe.model == "small")
    assert result.baseline is not None
    assert record.measurements["size"].value < 0.95 * result.baseline.measurements["size"].value
    saved = result.view.folder.kept_model(record.number)
    notes = describe(saved)["notes"]
    assert notes["base_model"] == str(file.parent / "small")
    assert notes["recipe"][0] == {"model": "small"}
    assert len(layers(load_model(saved).candidate.model)) == 2


def test_tables_and_mlflow_tell_the_base_model_of_every_trial(result: SearchResult, file: Path) -> None:
    labels = {str(record.number): record.recipe.model or "model" for record in result.trials}
    with result.view.folder.trials_table.open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert {row["trial"]: row["model"] for row in rows} == labels
    assert all(row["recipe"].startswith("full_finetuning") for row in rows)
    assert list(result.to_pandas()["model"]) == list(labels.values())
    client = open_client(None, result.root)
    [experiment] = [item for item in client.search_experiments() if item.name == "news"]
    runs = list(search_all(client, experiment.experiment_id, **{"autoopt.kind": "trial"}))
    assert {run.data.tags["autoopt.trial"]: run.data.params["model"] for run in runs} == labels
    versions = {version.trial: version.recipe for version in registered(uri=None, root=result.root, name="news")}
    assert all(recipe.startswith("small: ") == (labels[str(trial)] == "small") for trial, recipe in versions.items())
    tags = {
        int(version.tags["autoopt.trial"]): version.tags["autoopt.base_model"]
        for version in client.search_model_versions("name = 'news'")
    }
    assert tags == {trial: str(file.parent / labels[str(trial)]) for trial in versions}


def test_one_trial_is_shown_with_its_base_model(result: SearchResult, file: Path) -> None:
    number = next(record.number for record in result.trials if record.recipe.model)
    assert f"base model: {file.parent / 'small'}" in run("show", "news", number, "--root", result.root.path).stdout
    shown = json.loads(run("show", "news", number, "--json", "--root", result.root.path).stdout)
    assert shown["base_model"] == str(file.parent / "small")
    assert result.baseline is not None
    assert result.baseline.recipe.model == ""


def test_another_model_of_this_label_is_not_searched_in_the_same_study(result: SearchResult, file: Path) -> None:
    experiment = load_experiment(file)
    inputs = Inputs.of(experiment, open_data(experiment), find_models(experiment))
    assert {name.partition("/")[0] for name in inputs.model if "/" in name} == {"small"}
    changed = file.parent / "small" / "config.json"
    original = changed.read_text(encoding="utf-8")
    try:
        changed.write_text(original.replace("{", "{ ", 1), encoding="utf-8")
        with pytest.raises(ExperimentError, match=r"the model's file small/config\.json has other content"):
            search(file, root=result.root.path)
    finally:
        changed.write_text(original, encoding="utf-8")
    assert len(search(file, root=result.root.path).trials) == 3


def test_a_model_that_cannot_be_opened_is_named_before_anything_is_made(file: Path, tmp_path: Path) -> None:
    shutil.copytree(file.parent / "small", tmp_path / "damaged")
    config = tmp_path / "damaged" / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"intermediate_size": 64', '"intermediate_size": 48'))
    experiment = load_experiment(file, [f"model=[{file.parent / 'model'}, {tmp_path / 'damaged'}]"])
    with pytest.raises(ModelError, match=f"the weights of {tmp_path / 'damaged'} do not fit"):
        checked(experiment, Root(tmp_path / "root"), lambda _: None)
    gone = load_experiment(file, [f"model=[{file.parent / 'model'}, {tmp_path / 'gone'}]"])
    with pytest.raises(ModelError, match=f"there is no model folder {tmp_path / 'gone'}"):
        checked(gone, Root(tmp_path / "root"), lambda _: None)


def test_the_preview_times_each_base_model(file: Path, tmp_path: Path) -> None:
    shown = json.loads(
        run("plan", file, "--json", "--root", tmp_path, "--set", "objectives=[quality, latency_p50]").stdout
    )
    first, small = shown["base_models"]
    assert (first["label"], first["layers"], first["latency_ratio"]) == ("model", 4, 1.0)
    assert (small["label"], small["layers"]) == ("small", 2)
    assert 0.2 < small["latency_ratio"] < 0.95
    assert {"model": "small"} in [recipe[0] for recipe in shown["start_design"]]


def test_a_later_study_tries_a_recipe_on_the_base_model_that_it_was_best_on(result: SearchResult, file: Path) -> None:
    models = {label: str(file.parent / label) for label in ("model", "small")}

    def known_to(*overrides: str) -> list[Recipe]:
        space = checked(load_experiment(file, overrides), Root(file.parent / "root"), lambda _: None).space
        return [recipe for _, recipe in best_known(load_experiment(file, overrides), result.root, space)]

    best = next(model.record.recipe for model in result.front if model.record.recipe.model == "small")
    assert best in known_to("study=same")
    alone = known_to("study=alone", f"model={models['small']}")
    assert best.steps in [recipe.steps for recipe in alone]
    assert all(recipe.model == "" for recipe in alone)
    turned = known_to("study=turned", f"model=[{models['small']}, {models['model']}]")
    assert replace(best, model="") in turned
    assert {recipe.model for recipe in turned} <= {"", "model"}


@pytest.mark.slow
def test_the_workers_of_a_cluster_open_the_base_model_that_a_recipe_needs(file: Path, tmp_path: Path) -> None:
    found = search(file, overrides=["study=ray", "search.trials=4"], root=tmp_path / "root")
    assert {record.recipe.model for record in found.trials} == {"", "small"}
    assert {record.recipe.model for record in (model.record for model in found.front)} >= {"small"}
