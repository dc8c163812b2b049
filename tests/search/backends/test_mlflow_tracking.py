from __future__ import annotations

import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.backends import mlflow_record
from autoopt.search.backends.mlflow_client import open_client
from autoopt.search.backends.mlflow_runs import Ending
from autoopt.search.backends.mlflow_tracking import MlflowTracker
from autoopt.search.paths import Root
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import StageRecord, State, TrialRecord
from autoopt.strategies.errors import UsageError

STUDY = "bbc-news"


def trial(number: int, state: State = State.COMPLETE, *, keep: float = 0.5) -> TrialRecord:
    quality = Measurement(
        name="quality", value=0.9, unit="", direction=Direction.MAXIMIZE, low=0.88, high=0.92, samples=300
    )
    return TrialRecord(
        number=number,
        recipe=Recipe.from_json([{"strategy": "full_finetuning"}, {"strategy": "layer_drop", "keep": keep}]),
        state=state,
        measurements={"quality": quality} if state is State.COMPLETE else {},
        violations={"latency_p95 <= 12 ms": -0.1},
        stages=(StageRecord("full_finetuning", 2.5, reused=False),),
        seconds=3.0,
        reason="over budget" if state is State.REJECTED else "",
    )


@contextmanager
def tracking(root: Root, uri: str | None = None, ending: Ending = Ending.FINISHED) -> Iterator[MlflowTracker]:
    """A tracker that is closed at the end and has nothing to complain of."""
    warnings: list[str] = []
    tracker = MlflowTracker(uri, root, STUDY, warn=warnings.append)
    yield tracker
    tracker.close(60, ending=ending)
    assert warnings == []
    assert tracker.unwritten == 0


def runs(root: Root, kind: str, uri: str | None = None) -> list[Any]:
    client = open_client(uri, root)
    experiment = client.get_experiment_by_name(STUDY)
    return list(
        client.search_runs(
            [experiment.experiment_id],
            filter_string=f"tags.`autoopt.kind` = '{kind}'",
            order_by=["attributes.start_time ASC"],
        )
    )


def test_a_study_is_one_parent_run_with_a_child_for_each_trial(root: Root) -> None:
    with tracking(root) as tracker:
        for record in (trial(0), trial(1, State.REJECTED), trial(2, State.FAILED)):
            tracker.record(record)
    [parent] = runs(root, "study")
    assert parent.info.status == "FINISHED"
    children = {run.data.tags["autoopt.trial"]: run for run in runs(root, "trial")}
    assert {number: run.info.status for number, run in children.items()} == {
        "0": "FINISHED",
        "1": "KILLED",
        "2": "FAILED",
    }
    first = children["0"]
    assert first.data.params == mlflow_record.parameters(trial(0))
    assert first.data.metrics == mlflow_record.metrics(trial(0))
    assert first.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert first.data.tags["autoopt.study"] == STUDY
    assert first.data.tags["autoopt.recipe_id"] == trial(0).recipe.id
    assert first.data.tags["autoopt.feasible"] == "true"
    assert children["1"].data.tags["autoopt.reason"] == "over budget"


def test_a_restart_finds_the_parent_and_the_children_again(root: Root) -> None:
    with tracking(root, ending=Ending.KILLED) as tracker:
        tracker.record(trial(0))
    [parent] = runs(root, "study")
    assert parent.info.status == "KILLED"
    with tracking(root) as tracker:
        for record in (trial(0), trial(1)):
            tracker.record(record)
        tracker.sync([])
        assert runs(root, "study")[0].info.status == "RUNNING"
    assert [run.info.run_id for run in runs(root, "study")] == [parent.info.run_id]
    assert runs(root, "study")[0].info.status == "FINISHED"
    assert [run.data.tags["autoopt.trial"] for run in runs(root, "trial")] == ["0", "1"]


def test_syncing_again_adds_nothing(root: Root) -> None:
    with tracking(root) as tracker:
        tracker.record(trial(0))
        assert tracker.sync([trial(number) for number in range(4)]) == 3
        assert tracker.sync([trial(number) for number in range(4)]) == 0
    with tracking(root) as tracker:
        assert tracker.sync([trial(number) for number in range(4)]) == 0
    assert len(runs(root, "trial")) == 4


def test_a_trial_that_still_runs_is_left_for_later(root: Root) -> None:
    with tracking(root) as tracker:
        tracker.record(trial(0, State.RUNNING))
        assert tracker.sync([trial(0, State.RUNNING)]) == 0
        assert tracker.sync([trial(0)]) == 1


def test_another_recipe_under_a_number_that_was_used_is_another_trial(root: Root) -> None:
    with tracking(root) as tracker:
        assert tracker.sync([trial(0, keep=0.5)]) == 1
        assert tracker.sync([trial(0, keep=0.33)]) == 1


def test_a_trial_that_was_half_written_is_completed_and_its_double_goes(root: Root) -> None:
    with tracking(root):
        pass
    [parent] = runs(root, "study")
    client = open_client(None, root)
    tags = {
        "mlflow.parentRunId": parent.info.run_id,
        "autoopt.kind": "trial",
        "autoopt.trial": "0",
        "autoopt.recipe_id": trial(0).recipe.id,
    }
    for _ in range(2):
        client.create_run(parent.info.experiment_id, tags=tags)
    with tracking(root) as tracker:
        assert tracker.sync([trial(0)]) == 1
    [child] = runs(root, "trial")
    assert child.info.status == "FINISHED"
    assert child.data.metrics["quality"] == 0.9


def test_the_resolved_experiment_goes_with_the_parent(root: Root, tmp_path: Path) -> None:
    experiment = tmp_path / "experiment.resolved.yaml"
    for text in ("study: first\n", "study: second\n"):
        experiment.write_text(text, encoding="utf-8")
        with tracking(root) as tracker:
            tracker.attach(experiment)
    [parent] = runs(root, "study")
    [attached] = root.mlflow_artifacts.rglob(experiment.name)
    assert parent.info.run_id in str(attached)
    assert attached.read_text(encoding="utf-8") == "study: second\n"


def test_a_recipe_that_is_too_long_for_a_parameter_goes_in_whole_as_a_file(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_record, "MAX_PARAMETER_CHARACTERS", 40)
    with tracking(root) as tracker:
        tracker.record(trial(0))
    [child] = runs(root, "trial")
    assert len(child.data.params["recipe"]) == 40
    [attached] = root.mlflow_artifacts.rglob("recipe.json")
    assert '"layer_drop"' in attached.read_text(encoding="utf-8")


def test_an_experiment_that_a_person_deleted_comes_back(root: Root) -> None:
    with tracking(root) as tracker:
        tracker.record(trial(0))
    client = open_client(None, root)
    client.delete_experiment(client.get_experiment_by_name(STUDY).experiment_id)
    with tracking(root) as tracker:
        assert tracker.sync([trial(0), trial(1)]) >= 1


def test_what_mlflow_refuses_is_told_and_stops_nothing(root: Root) -> None:
    warnings: list[str] = []
    tracker = MlflowTracker(None, root, STUDY, warn=warnings.append)
    assert tracker.sync([trial(0)]) == 1
    [parent] = runs(root, "study")
    open_client(None, root).delete_run(parent.info.run_id)
    assert tracker.sync([trial(1)]) == 1
    tracker.close(60)
    assert len(warnings) == 1
    assert "it is skipped, the study goes on" in warnings[0]
    assert tracker.unwritten == 0


def test_a_server_that_never_answers_holds_nothing_up(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    warnings: list[str] = []
    records = [trial(number) for number in range(50)]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracker = MlflowTracker(f"http://127.0.0.1:{silent.getsockname()[1]}", root, STUDY, warn=warnings.append)
        for record in records:
            tracker.record(record)
        assert warnings == [], "record() came back only after the server was given up"
        assert tracker.sync([], patience_s=60) == 0
        assert tracker.unwritten == 50
        tracker.close(0.05)
    assert len(warnings) == 1
    assert "the study goes on" in warnings[0]


def test_closing_waits_no_longer_than_it_is_told(root: Root) -> None:
    warnings: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracker = MlflowTracker(f"http://127.0.0.1:{silent.getsockname()[1]}", root, STUDY, warn=warnings.append)
        tracker.record(trial(0))
        tracker.close(0.05)
        assert len(warnings) == 1
        assert "did not answer within 0.05 s" in warnings[0]


def rename_column(root: Root, old: str, new: str) -> None:
    """How a database fails at once, whatever is asked of it; the other way round it is well again."""
    connection = sqlite3.connect(root.mlflow_database)
    connection.execute(f"ALTER TABLE tags RENAME COLUMN {old} TO {new}")
    connection.close()


def test_what_a_failing_database_missed_is_written_once_when_it_is_well(root: Root) -> None:
    warnings: list[str] = []
    rename_column(root, "value", "lost")
    tracker = MlflowTracker(None, root, STUDY, warn=warnings.append, retry_after_s=3600)
    for number in range(3):
        tracker.record(trial(number))
    assert tracker.sync([trial(3)]) == 0
    assert tracker.sync([]) == 0
    assert tracker.unwritten == 4
    assert len(warnings) == 1
    assert f"MLflow at sqlite:///{root.mlflow_database} failed: no such column: tags.value" in warnings[0]
    rename_column(root, "lost", "value")
    assert tracker.sync([trial(number) for number in range(5)]) == 5
    assert tracker.sync([trial(number) for number in range(5)]) == 0
    tracker.close(60)
    assert len(warnings) == 1
    assert len(runs(root, "trial")) == 5


def test_what_failed_is_tried_again_without_being_asked(root: Root) -> None:
    warnings: list[str] = []
    rename_column(root, "value", "lost")
    tracker = MlflowTracker(None, root, STUDY, warn=warnings.append, retry_after_s=0.05)
    tracker.record(trial(0))
    while not warnings:
        time.sleep(0.01)
    rename_column(root, "lost", "value")
    while tracker.unwritten:
        time.sleep(0.01)
    assert len(runs(root, "trial")) == 1
    tracker.close(60)
    assert len(warnings) == 1


@pytest.mark.slow
def test_what_a_dead_server_missed_is_written_once_when_it_is_back(
    root: Root,
    mlflow_server: tuple[str, Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri, start = mlflow_server
    warnings: list[str] = []
    tracker = MlflowTracker(uri.replace("//", "//user:secret@"), root, STUDY, warn=warnings.append, retry_after_s=3600)
    for number in range(3):
        tracker.record(trial(number))
    assert tracker.sync([trial(3)]) == 0
    assert tracker.sync([]) == 0
    assert len(warnings) == 1
    assert re.search(r"MLflow at http://\*\*\*@127\.0\.0\.1:\d+ failed: .*Connection refused", warnings[0])
    assert "secret" not in warnings[0]
    assert not root.mlflow_artifacts.exists()
    start()
    assert tracker.sync([trial(number) for number in range(5)]) == 5
    assert tracker.sync([trial(number) for number in range(5)]) == 0
    tracker.close(60)
    assert len(warnings) == 1
    assert [run.info.status for run in runs(root, "study", uri)] == ["FINISHED"]
    assert len(runs(root, "trial", uri)) == 5
    assert capsys.readouterr().out == "", "MLflow prints a line for each run, which would be in the JSON of a command"


def test_a_study_whose_name_is_unsafe_is_refused_at_once(root: Root) -> None:
    with pytest.raises(UsageError, match="is not a valid study name"):
        MlflowTracker(None, root, "x' or tags.a = 'b")
