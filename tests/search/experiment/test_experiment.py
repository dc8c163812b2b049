from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.search.experiment.experiment import Experiment, example_names, load_experiment
from autoopt.search.experiment.yaml_file import parse_yaml
from autoopt.strategies.catalog import catalog
from autoopt.strategies.errors import ExperimentError

SMALL = """\
study: news
model: org/encoder
data:
  source: org/news
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "news.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_a_small_file_has_defaults_for_all_the_rest(file: Path) -> None:
    experiment = load_experiment(file)
    assert experiment.task.name == "text_classification"
    assert experiment.task.metric is None
    assert experiment.objectives == ("quality", "latency_p50")
    assert experiment.budget == ()
    assert experiment.search.model_dump() == {
        "trials": 24,
        "timeout": None,
        "trial_timeout": "auto",
        "max_compute": None,
        "stop_when_gain": None,
        "seed": 0,
        "confirm_seeds": 1,
        "sampler": "auto",
        "scheduler": "halving",
        "warm_start": True,
    }
    assert experiment.target.model_dump() == {
        "device": "cpu",
        "threads": 1,
        "batch_size": 1,
        "sequence_length": 128,
        "prompt": 128,
        "output": 64,
        "concurrency": 1,
        "lengths": "data",
    }
    assert experiment.storage.stages_limit() == 20_000_000_000
    assert experiment.resources.workers >= 1
    assert list(experiment.choices()) == list(catalog())


def test_units_aliases_and_short_forms_are_resolved(file: Path) -> None:
    experiment = load_experiment(
        file,
        [
            "task.metric=macro_f1",
            "data.max_length=64",
            "data.split={train: 70%, validation: 100}",
            "search.timeout=2h",
            "search.stop_when_gain=5%",
            "objectives=[quality, latency, size]",
            "budget=[latency <= 12ms, size <= 60MB, quality >= 99% of baseline]",
        ],
    )
    assert experiment.task.metric == "macro_f1"
    assert experiment.target.sequence_length == 64
    assert experiment.data.split.train == 0.7
    assert experiment.data.split.validation == 100
    assert experiment.search.timeout == 7200.0
    assert experiment.objectives == ("quality", "latency_p50", "size")
    assert [limit.metric for limit in experiment.budget] == ["latency_p50", "size", "quality"]


def test_a_task_may_be_its_name(file: Path) -> None:
    assert load_experiment(file, ["task=text_classification"]).task.name == "text_classification"


def test_the_targets_length_may_differ_from_the_datas(file: Path) -> None:
    experiment = load_experiment(file, ["data.max_length=64", "target.sequence_length=32"])
    assert (experiment.data.max_length, experiment.target.sequence_length) == (64, 32)


def test_everything_that_is_judged_is_named_once(file: Path) -> None:
    changes = ["objectives=[quality, throughput]", "budget=[memory <= 1GB, throughput >= 5/s, parameters <= 20M]"]
    assert load_experiment(file, changes).metrics() == {"quality", "throughput", "memory", "parameters"}


def test_one_length_may_be_asked_for_instead_of_those_of_the_data(file: Path) -> None:
    assert load_experiment(file).target.lengths == "data"
    experiment = load_experiment(file, ["target.lengths=fixed"])
    assert experiment.target.lengths == "fixed"
    assert load_experiment(file).differences(experiment) == ["target.lengths: data -> fixed"]


def test_a_section_whose_lines_are_commented_out_keeps_its_defaults(file: Path) -> None:
    file.write_text(SMALL + "tracking:\n  # uri: http://127.0.0.1:5000\nbudget:\n", encoding="utf-8")
    assert load_experiment(file).tracking.uri is None


def test_the_resolved_file_reads_back_as_the_same_experiment(file: Path, tmp_path: Path) -> None:
    changes = ["budget=[latency <= 12ms]", "search.timeout=90m", "strategies.full_finetuning={epochs: 3}"]
    experiment = load_experiment(file, [*changes, "storage.root=studies", "data.split.test=25%"])
    resolved = tmp_path / "elsewhere" / "resolved.yaml"
    resolved.parent.mkdir()
    resolved.write_text(experiment.to_yaml(), encoding="utf-8")
    reloaded = load_experiment(resolved)
    assert reloaded == experiment
    assert reloaded.to_yaml() == experiment.to_yaml()
    assert reloaded.differences(experiment) == []
    assert Experiment.model_validate(json.loads(json.dumps(experiment.to_json()))) == experiment


@given(
    trials=st.integers(1, 10**6),
    seed=st.integers(0, 2**32 - 1),
    seconds=st.integers(1, 10**7),
    share=st.floats(0.01, 0.9),
)
def test_any_numbers_survive_the_resolved_file(trials: int, seed: int, seconds: int, share: float) -> None:
    values = parse_yaml(SMALL, source="x").data
    values["search"] = {"trials": trials, "seed": seed, "timeout": f"{seconds}s"}
    values["data"]["split"] = {"train": share}
    experiment = Experiment.model_validate(values)
    assert Experiment.model_validate(parse_yaml(experiment.to_yaml(), source="x").data) == experiment


def test_paths_are_relative_to_the_file_and_those_of_overrides_to_the_current_folder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = tmp_path / "here"
    current.mkdir()
    monkeypatch.chdir(current)
    (tmp_path / "encoder").mkdir()
    file.write_text(SMALL.replace("org/encoder", "encoder").replace("org/news", "rows.csv"), encoding="utf-8")
    experiment = load_experiment(file, ["data.unlabeled=./more.txt"])
    assert experiment.model == str(tmp_path / "encoder")
    assert experiment.data.source == str(tmp_path / "rows.csv")
    assert experiment.data.unlabeled == str(current / "more.txt")
    named = load_experiment(file, ["model=org/encoder", "data.source=package://some_package/data"])
    assert (named.model, named.data.source) == ("org/encoder", "package://some_package/data")


def test_an_example_is_found_by_its_name_and_a_file_of_that_name_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_experiment("bbc-news").study == "bbc-news"
    (tmp_path / "bbc-news").write_text(SMALL, encoding="utf-8")
    assert load_experiment("bbc-news").study == "news"


def test_every_example_is_valid_and_fits_its_schema() -> None:
    schema = Experiment.model_json_schema()
    assert "bbc-news" in example_names()
    for name in example_names():
        experiment = load_experiment(name)
        jsonschema.validate(experiment.to_json(), schema)


def test_the_schema_refuses_what_the_models_refuse() -> None:
    schema = Experiment.model_json_schema()
    good = parse_yaml(SMALL, source="x").data
    jsonschema.validate(good, schema)
    for bad in ({**good, "studdy": 1}, {**good, "study": "../x"}, {**good, "target": {"device": "tpu"}}):
        with pytest.raises(jsonschema.ValidationError, match=r"studdy|\.\./x|tpu"):
            jsonschema.validate(bad, schema)


def test_what_may_change_on_resume_is_not_in_the_fingerprint(file: Path) -> None:
    started = load_experiment(file)
    allowed_changes = [
        "search.trials=99",
        "search.timeout=1h",
        "search.max_compute=3h",
        "search.confirm_seeds=3",
        "resources.workers=7",
        "storage.root=x",
    ]
    allowed_changes.append("tracking.uri=http://h")
    assert started.differences(load_experiment(file, allowed_changes)) == []
    fixed_changes = ["search.seed=1", "data.split.train=300", "budget=[size <= 1MB]", "strategies.lora=false"]
    assert sorted(started.differences(load_experiment(file, fixed_changes))) == [
        "budget: none -> size <= 1MB",
        "data.split.train: not set -> 300",
        "search.seed: 0 -> 1",
        "strategies.lora: true -> false",
    ]
    assert started.differences(started.fingerprint()) == []


def test_strategies_are_left_out_by_false_and_all_others_by_one_key(file: Path) -> None:
    assert "lora" not in load_experiment(file, ["strategies={lora: false}"]).choices()
    only = load_experiment(file, ["strategies={others: false, lora: true, layer_drop: {keep: 0.5}}"])
    assert list(only.choices()) == ["lora", "layer_drop"]
    assert only.strategies["full_finetuning"] is False


def test_secrets_stay_out_of_the_file_and_are_quoted_where_they_are_filled_in(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "postgresql://user:${ENV:DB_PASSWORD}@host/db"
    experiment = load_experiment(file, [f"storage.url={address}", "tracking.uri=${ENV:MLFLOW}"])
    assert experiment.storage.url == address
    with pytest.raises(ExperimentError, match=r"storage.url: the environment variable DB_PASSWORD is not set; set it"):
        experiment.storage.address()
    monkeypatch.setenv("DB_PASSWORD", "p@ss/word")
    monkeypatch.setenv("MLFLOW", "http://a:b@host")
    assert experiment.storage.address() == "postgresql://user:p%40ss%2Fword@host/db"
    assert experiment.tracking.address() == "http://a:b@host"
    assert "ss/word" not in experiment.to_yaml() + repr(experiment)


def test_reading_an_experiment_imports_nothing_heavy(file: Path) -> None:
    program = (
        "import sys; from autoopt.search.experiment.experiment import load_experiment; load_experiment(sys.argv[1]);"
        "heavy = {'torch', 'transformers', 'peft', 'sklearn', 'pandas', 'pyarrow', 'mlflow', 'ray', 'optuna'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"


def test_several_models_are_a_list_and_one_is_as_it_was(file: Path, tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    file.write_text(SMALL.replace("org/encoder", "[encoder, org/small]"), encoding="utf-8")
    several = load_experiment(file)
    assert several.base_models == {"encoder": str(tmp_path / "encoder"), "small": "org/small"}
    assert several.base_model_of("") == str(tmp_path / "encoder")
    assert several.base_model_of("small") == "org/small"
    assert Experiment.model_validate(parse_yaml(several.to_yaml(), source="x").data) == several
    one = load_experiment(file, ["model=[org/small]"])
    assert one.to_json()["model"] == "org/small"
    assert one.differences(several) == [f"model: org/small -> {tmp_path / 'encoder'}, org/small"]


@pytest.mark.parametrize(
    ("model", "is_valid"), [("m", True), (["m", "n"], True), ([], False), (["m", "m"], False), (7, False)]
)
def test_the_schema_takes_a_model_or_a_list_of_distinct_ones(model: object, is_valid: bool) -> None:
    schema = Experiment.model_json_schema()
    document = {"study": "s", "model": model, "data": {"source": "rows.csv"}}
    assert jsonschema.Draft202012Validator(schema).is_valid(document) is is_valid
