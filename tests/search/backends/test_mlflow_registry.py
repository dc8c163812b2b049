from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.backends.mlflow_client import open_client, tracking_uri
from autoopt.search.backends.mlflow_packaging import requirements
from autoopt.search.backends.mlflow_pull import pull
from autoopt.search.backends.mlflow_registry import VerifiedModel, point_alias, promote, register_front, registered
from autoopt.search.paths import Root
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import CorruptArtefact, EnvironmentProblem, UnknownName, UsageError
from autoopt.strategies.saving import verify

STUDY = "bbc-news"
TEXTS = ["chelsea won the cup", "shares fell sharply today", "the cup"]
Candidates = dict[int, tuple[Candidate, Path]]


def verified(candidates: Candidates, trial: int) -> VerifiedModel:
    quality = Measurement(
        name="quality", value=0.9, unit="", direction=Direction.MAXIMIZE, low=0.88, high=0.92, samples=300
    )
    latency = Measurement(
        name="latency_p95", value=3.5, unit="ms", direction=Direction.MINIMIZE, low=3.4, high=3.6, samples=150
    )
    return VerifiedModel(
        trial, candidates[trial][1], f"recipe of {trial}", {"quality": quality, "latency_p95": latency}
    )


@pytest.fixture
def process_wide_address(root: Root) -> Iterator[str]:
    """What ``mlflow.set_tracking_uri`` is told by a person who uses the models."""
    import mlflow

    mlflow.set_tracking_uri(tracking_uri(None, root))
    yield tracking_uri(None, root)
    mlflow.set_tracking_uri(None)


def logged_models(root: Root) -> int:
    client = open_client(None, root)
    return len(client.search_logged_models([client.get_experiment_by_name(STUDY).experiment_id]))


def test_a_front_becomes_versions_of_one_model_with_aliases(root: Root, candidates: Candidates) -> None:
    models = [verified(candidates, 3), verified(candidates, 7)]
    aliases = {"champion": 7, "fastest": 3, "smallest": 3, "balanced": 7}
    versions = register_front(uri=None, root=root, study=STUDY, models=models, aliases=aliases)
    assert [(item.version, item.trial, item.aliases) for item in versions] == [
        (1, 3, ("fastest", "smallest")),
        (2, 7, ("balanced", "champion")),
    ]
    assert versions[0].recipe == "recipe of 3"
    assert versions[0].measurements == models[0].measurements
    assert versions == registered(uri=None, root=root, name=STUDY)
    tags = open_client(None, root).get_model_version(STUDY, "1").tags
    assert tags["autoopt.manifest_sha256"] == models[0].digest
    assert tags["quality"] == "0.9"
    assert tags["latency_p95"] == "3.5 ms"


def test_the_measurements_belong_to_the_logged_model_so_that_models_are_found_by_them(
    root: Root, candidates: Candidates
) -> None:
    register_front(uri=None, root=root, study=STUDY, models=[verified(candidates, 3)], aliases={})
    client = open_client(None, root)
    experiment_id = client.get_experiment_by_name(STUDY).experiment_id
    [logged] = client.search_logged_models([experiment_id], filter_string="metrics.latency_p95 < 4")
    assert logged.tags["autoopt.trial"] == "3"
    assert client.search_logged_models([experiment_id], filter_string="metrics.latency_p95 < 3") == []


def test_registering_again_adds_no_version_and_moves_the_aliases(root: Root, candidates: Candidates) -> None:
    models = [verified(candidates, 3), verified(candidates, 7)]
    register_front(uri=None, root=root, study=STUDY, models=models[:1], aliases={"champion": 3})
    versions = register_front(uri=None, root=root, study=STUDY, models=models[::-1], aliases={"champion": 7})
    assert [(item.version, item.trial, item.aliases) for item in versions] == [(1, 3, ()), (2, 7, ("champion",))]
    assert versions == register_front(uri=None, root=root, study=STUDY, models=models, aliases={"champion": 7})
    assert logged_models(root) == 2


def test_what_was_measured_since_is_added_to_the_version_that_is_there(root: Root, candidates: Candidates) -> None:
    model = verified(candidates, 3)
    register_front(uri=None, root=root, study=STUDY, models=[model], aliases={"champion": 3})
    spread = Measurement.exact("quality_deviation_of_seeds", 0.004, "", Direction.MINIMIZE)
    more = replace(model, measurements={**model.measurements, spread.name: spread})
    for _ in range(2):
        [version] = register_front(uri=None, root=root, study=STUDY, models=[more], aliases={"champion": 3})
    assert version.measurements == more.measurements
    client = open_client(None, root)
    version = client.get_model_version(STUDY, "1")
    assert version.tags["quality_deviation_of_seeds"] == "0.004"
    assert version.tags["quality"] == "0.9"
    assert client.get_run(version.run_id).data.metrics["quality_deviation_of_seeds"] == 0.004
    assert len(client.get_metric_history(version.run_id, "quality_deviation_of_seeds")) == 1
    assert len(client.get_metric_history(version.run_id, "quality")) == 1
    experiment_id = client.get_experiment_by_name(STUDY).experiment_id
    [logged] = client.search_logged_models([experiment_id], filter_string="metrics.quality_deviation_of_seeds < 1")
    assert logged.tags["autoopt.trial"] == "3"


def test_two_trials_that_are_the_same_model_are_one_version(root: Root, candidates: Candidates) -> None:
    model = verified(candidates, 3)
    versions = register_front(
        uri=None, root=root, study=STUDY, models=[model, replace(model, trial=4)], aliases={"champion": 4}
    )
    assert [(item.version, item.trial, item.aliases) for item in versions] == [(1, 3, ("champion",))]


def test_a_registration_that_broke_off_after_the_upload_uploads_nothing_again(
    root: Root, candidates: Candidates
) -> None:
    models = [verified(candidates, 3)]
    register_front(uri=None, root=root, study=STUDY, models=models, aliases={"champion": 3})
    open_client(None, root).delete_registered_model(STUDY)
    [version] = register_front(uri=None, root=root, study=STUDY, models=models, aliases={"champion": 3})
    assert version.aliases == ("champion",)
    assert logged_models(root) == 1


def test_a_registration_that_broke_off_in_the_upload_is_done_again_and_leaves_no_second_run(
    root: Root, candidates: Candidates
) -> None:
    models = [verified(candidates, 3)]
    register_front(uri=None, root=root, study=STUDY, models=models, aliases={})
    client = open_client(None, root)
    experiment_id = client.get_experiment_by_name(STUDY).experiment_id
    [uploaded] = client.search_logged_models([experiment_id])
    client.delete_registered_model(STUDY)
    client.delete_logged_model(uploaded.model_id)
    broken = client.create_logged_model(
        experiment_id, name="trial-3", source_run_id=uploaded.source_run_id, tags=uploaded.tags
    )
    register_front(uri=None, root=root, study=STUDY, models=models, aliases={})
    [again] = client.search_logged_models([experiment_id])
    assert again.model_id != broken.model_id
    assert again.status == "READY"
    assert again.source_run_id == uploaded.source_run_id


def test_writers_that_set_an_alias_at_once_all_succeed(root: Root, candidates: Candidates) -> None:
    register_front(uri=None, root=root, study=STUDY, models=[verified(candidates, 3)], aliases={})
    client = open_client(None, root)
    together = threading.Barrier(4)

    def set_alias(_: int) -> None:
        together.wait()
        point_alias(client, STUDY, "champion", 1)

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(set_alias, range(4)))
    [version] = registered(uri=None, root=root, name=STUDY)
    assert version.aliases == ("champion",)


def test_nothing_is_registered_where_one_folder_is_not_what_was_saved(
    root: Root, candidates: Candidates, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(candidates[7][1], broken)
    (broken / "config.json").write_text("{}", encoding="utf-8")
    models = [verified(candidates, 3), VerifiedModel(7, broken, "recipe", {})]
    with pytest.raises(CorruptArtefact, match=r"config\.json is not what was written"):
        register_front(uri=None, root=root, study=STUDY, models=models, aliases={"champion": 3})
    with pytest.raises(UnknownName, match="none is registered yet"):
        registered(uri=None, root=root, name=STUDY)


def test_an_alias_needs_a_verified_model_and_a_safe_name(root: Root, candidates: Candidates) -> None:
    models = [verified(candidates, 3)]
    with pytest.raises(UsageError, match=r"no verified model for \{'champion': 4\}; there are \[3\]"):
        register_front(uri=None, root=root, study=STUDY, models=models, aliases={"champion": 4})
    with pytest.raises(UsageError, match="is not a valid alias name: use 1 to 128"):
        register_front(uri=None, root=root, study=STUDY, models=models, aliases={"../champion": 3})


def test_a_registered_model_predicts_what_the_candidate_predicts_and_needs_no_pickle(
    root: Root, candidates: Candidates, process_wide_address: str
) -> None:
    import mlflow
    import pandas as pd
    from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION

    register_front(uri=None, root=root, study=STUDY, models=[verified(candidates, 7)], aliases={"champion": 7})
    assert MLFLOW_ALLOW_PICKLE_DESERIALIZATION.get() is False
    model = mlflow.pyfunc.load_model(f"models:/{STUDY}@champion")
    candidate, folder = candidates[7]
    expected = candidate.task.predict(candidate, TEXTS)  # type: ignore[attr-defined]
    assert len({answer["label"] for answer in expected}) == 2, "the texts must not all be of one class"

    answers = model.predict(pd.DataFrame({"text": TEXTS}))
    assert list(answers.columns) == ["label", "score"]
    assert answers.to_dict("records") == [{"label": item["label"], "score": item["score"]} for item in expected]
    assert model.predict(TEXTS).equals(answers)
    with_all = model.predict(TEXTS, params={"probabilities": True})
    assert list(with_all["probabilities"]) == [item["scores"] for item in expected]

    files = [path for path in root.mlflow_artifacts.rglob("*") if path.is_file()]
    assert {path.name for path in folder.iterdir()} < {path.name for path in files}
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".bin", ".pt"}]
    assert not [path for path in files if path.read_bytes()[:2] in {b"\x80\x04", b"\x80\x05", b"PK"}]


def test_the_scoring_server_of_mlflow_answers_tables_and_lists(
    root: Root, candidates: Candidates, process_wide_address: str
) -> None:
    import mlflow
    from mlflow.pyfunc import scoring_server
    from starlette.testclient import TestClient

    register_front(uri=None, root=root, study=STUDY, models=[verified(candidates, 7)], aliases={"champion": 7})
    model = mlflow.pyfunc.load_model(f"models:/{STUDY}@champion")
    expected = model.predict(TEXTS)["label"].tolist()
    client = TestClient(scoring_server.init(model))
    table = {"dataframe_split": {"columns": ["text"], "data": [[text] for text in TEXTS]}}
    for body in (table, {"dataframe_records": [{"text": text} for text in TEXTS]}, {"inputs": TEXTS}):
        answer = client.post("/invocations", json=body)
        assert answer.status_code == 200, answer.text
        assert [row["label"] for row in answer.json()["predictions"]] == expected
    refused: dict[str, dict[str, Any]] = {
        "row 1 has no 'text'; give one to every row": {"inputs": ["chelsea won", None]},
        "row 0 has no 'text'; give one to every row": {"dataframe_records": [{"txt": "a"}, {"text": "b"}]},
        "row 0: 'text' is 5 (int), no text; give a string": {"dataframe_split": {"columns": ["text"], "data": [[5]]}},
        "row 0: 'text' is ['a'] (list), no text; give a string": {"dataframe_records": [{"text": ["a"]}]},
    }
    for message, body in refused.items():
        answer = client.post("/invocations", json=body)
        assert answer.status_code == 400
        assert answer.json()["message"].endswith(f"Error: {message}")


def test_the_requirements_are_those_of_this_machine_without_the_build_of_torch() -> None:
    import torch

    assert f"torch=={torch.__version__.partition('+')[0]}" in requirements()
    assert {item.partition("==")[0] for item in requirements()} >= {"torch", "transformers", "safetensors"}
    assert not any(item.startswith("autoopt") for item in requirements()), "no package index has it"


def test_an_alias_is_moved_to_a_trial(root: Root, candidates: Candidates) -> None:
    models = [verified(candidates, 3), verified(candidates, 7)]
    register_front(uri=None, root=root, study=STUDY, models=models, aliases={"champion": 7})
    assert promote(STUDY, uri=None, root=root, trial=3, alias="champion").aliases == ("champion",)
    assert [item.aliases for item in registered(uri=None, root=root, name=STUDY)] == [("champion",), ()]
    with pytest.raises(UnknownName, match="trial 5 of 'bbc-news' is not registered; registered are 3, 7"):
        promote(STUDY, uri=None, root=root, trial=5, alias="champion")


def test_an_unknown_model_is_told_what_there_is(root: Root, candidates: Candidates) -> None:
    register_front(uri=None, root=root, study=STUDY, models=[verified(candidates, 3)], aliases={})
    with pytest.raises(UnknownName, match=r"did you mean 'bbc-news'\? registered are bbc-news"):
        registered(uri=None, root=root, name="bbc-nws")


def test_asking_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'bbc-news' is not a registered model; none is registered yet"):
        registered(uri=None, root=Root(tmp_path / "new"), name=STUDY)
    assert not (tmp_path / "new").exists()


def test_a_dead_server_is_named_without_its_password(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(EnvironmentProblem, match=r"^MLflow at http://\*\*\*@127\.0\.0\.1:9 failed: ") as caught:
        registered(uri="http://user:secret@127.0.0.1:9", root=root, name=STUDY)
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_a_server_registers_serves_and_gives_back_the_same_model(
    root: Root, candidates: Candidates, mlflow_server: tuple[str, Callable[[], None]], tmp_path: Path
) -> None:
    uri, start = mlflow_server
    start()
    models = [verified(candidates, 3), verified(candidates, 7)]
    first = register_front(uri=uri, root=root, study=STUDY, models=models, aliases={"champion": 7})
    assert first == register_front(uri=uri, root=root, study=STUDY, models=models, aliases={"champion": 7})
    assert [(item.trial, item.aliases) for item in first] == [(3, ()), (7, ("champion",))]
    folder = pull(f"{STUDY}@champion", tmp_path / "champion", root=root, uri=uri)
    verify(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in candidates[7][1].iterdir()
    }
