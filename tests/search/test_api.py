"""The Python API: its docstring's example on the tiny model, and what it refuses."""

from __future__ import annotations

import doctest
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from autoopt.search import api, load_model, open_study, search
from autoopt.search.backends.ray_tune import runner as ray_runner
from autoopt.search.experiment.experiment import load_experiment
from autoopt.strategies.errors import ExperimentError, ModelError, UnknownName, UsageError
from tests.search.samples import run_here, write_experiment

ONE_TRIAL = {"search": {"trials": 1}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the docstring's example has run, in this process and without Ray."""
    folder = tmp_path_factory.mktemp("api")
    write_experiment(folder, **ONE_TRIAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(ray_runner, "run", run_here)
        examples = doctest.DocTestFinder().find(api.search, "search", globs=vars(api))
        results = [doctest.DocTestRunner(verbose=False).run(example) for example in examples]
    assert sum(result.attempted for result in results) == 5
    assert sum(result.failed for result in results) == 0
    return folder


def test_a_study_is_opened_with_its_front_and_its_trials(root: Path) -> None:
    result = open_study("news", root=root / "studies")
    assert (result.study, result.stopped_because) == ("news", "")
    assert result.champion in result.front
    assert result.baseline is not None
    assert [record.number for record in result.trials] == [0]
    table = result.to_pandas()
    assert table.loc[0, "quality"] == result.trials[0].measurements["quality"].value
    assert {"trial", "state", "feasible", "recipe", "latency_p50", "seconds"} <= set(table.columns)


def test_a_model_is_loaded_by_its_registered_name_as_from_its_folder(root: Path, tmp_path: Path) -> None:
    folder = open_study("news", root=root / "studies").pull(tmp_path / "model", alias="fastest")
    texts = ["a0 a1 a2", "b0 b1"]
    assert load_model("news@fastest", root=root / "studies").predict(texts) == load_model(folder).predict(texts)


def test_the_search_of_a_mapping_or_an_experiment_is_that_of_its_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    mapping = yaml.safe_load((root / "news.yaml").read_text(encoding="utf-8"))
    mapping["model"], mapping["data"]["source"] = "model", "texts.csv"
    for experiment in (mapping, load_experiment(root / "news.yaml")):
        resumed = search(experiment, root="studies")  # Of another experiment the study would refuse to be resumed.
        assert [model.record.number for model in resumed.front] == [0]
        assert len(resumed.trials) == 1


def test_a_model_that_is_not_registered_is_pulled_from_the_study(root: Path, tmp_path: Path) -> None:
    result = open_study("news", root=root / "studies")
    assert result.outcome
    assert result.outcome.versions
    unregistered = replace(result, view=replace(result.view, outcome=replace(result.outcome, versions={})))
    (tmp_path / "model").mkdir()
    folder = unregistered.pull(tmp_path / "model")
    assert load_model(folder).predict(["a0 a1"]) == load_model(result.pull(tmp_path / "registered")).predict(["a0 a1"])
    with pytest.raises(UsageError, match="not empty"):
        unregistered.pull(folder)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_one_text_is_not_taken_for_a_list_of_letters(root: Path, tmp_path: Path) -> None:
    model = load_model(open_study("news", root=root / "studies").pull(tmp_path / "model"))
    with pytest.raises(UsageError, match=r"write predict\(\['a0 a1'\]\)"):
        model.predict("a0 a1")


def test_a_result_is_shown_on_a_line(root: Path) -> None:
    shown = repr(open_study("news", root=root / "studies"))
    assert shown.startswith("SearchResult('news': 1 trials, 1 on the front, best: full_finetuning(")


def test_an_experiment_may_be_a_mapping_and_is_refused_as_a_file_is(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="studdy"):
        search({"studdy": "news"}, root=tmp_path / "studies")
    assert not (tmp_path / "studies").exists()


def test_what_is_not_there_is_named_with_what_is(root: Path, tmp_path: Path) -> None:
    result = open_study("news", root=root / "studies")
    with pytest.raises(UnknownName, match="did you mean 'champion'"):
        result.pull(tmp_path / "model", alias="champoin")
    with pytest.raises(UnknownName, match="no study 'nws'"):
        open_study("nws", root=root / "studies")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UsageError, match="not empty"):
        result.pull(tmp_path / "full")
    with pytest.raises(ModelError):
        load_model(tmp_path / "full")


def test_the_package_itself_imports_nothing_heavy() -> None:
    program = (
        "import sys; from autoopt.search import search, open_study, load_model;"
        "print(sorted({'torch', 'ray', 'optuna', 'mlflow', 'pandas', 'click'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
