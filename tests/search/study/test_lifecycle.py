"""A whole search on a tiny model: from the experiment file to the verified front, with and without an interruption."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from autoopt.objectives.scoring.bootstrap import Difference
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.search.backends.optuna_records import records
from autoopt.search.backends.optuna_storage import database_url
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.opening import open_data, space_of
from autoopt.search.identity.lock import lock_holder, study_lock
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.study.driver import Driver
from autoopt.search.study.lifecycle import Search
from autoopt.search.study.outcome import Outcome, read_front
from autoopt.search.study.verification import Verified, verify
from autoopt.search.trial.execution import execute
from autoopt.search.trial.record import State, TrialRecord
from autoopt.search.trial.stage_eviction import entries, pinned_addresses
from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.errors import ExperimentError, StudyLocked
from tests import tiny
from tests.places import ROOT

EXPERIMENT = """
study: tiny
model: {model}
data: {{source: {data}, max_length: 16, split: {{train: 40, validation: 40, test: 40}}}}
budget: [latency_p50 <= 0.9 * baseline]
search: {{trials: {trials}}}
strategies: {{others: false, full_finetuning: true, layer_drop: true, recovery_finetuning: true}}
resources: {{workers: 1}}
"""


@dataclass
class Listener:
    """Keeps what it is told."""

    said: list[str] = field(default_factory=list)
    observed: list[TrialRecord] = field(default_factory=list)
    verifications: list[Verified] = field(default_factory=list)
    registered: list[Outcome] = field(default_factory=list)

    def stage(self, number: int, stage: str) -> None: ...
    def tick(self) -> None: ...
    def say(self, message: str) -> None:
        self.said.append(message)

    def observe(self, record: TrialRecord) -> None:
        self.observed.append(record)

    def verified(self, model: Verified) -> None:
        self.verifications.append(model)

    def record(self, record: TrialRecord) -> None: ...
    def sync(self, records: Sequence[TrialRecord]) -> int:
        return len(records)

    def register(self, outcome: Outcome, _: StudyFolder) -> Mapping[int, int]:
        self.registered.append(outcome)
        return {model.record.number: place for place, model in enumerate(outcome.models, start=1)}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained model and a data file."""
    folder = tmp_path_factory.mktemp("inputs")
    candidate = tiny.candidate()
    trunk: Any = candidate.model.base_model
    trunk.save_pretrained(folder / "model")
    candidate.tokenizer.save_pretrained(folder / "model")
    with (folder / "texts.csv").open("w", newline="") as file:
        rows = [(example.text, tiny.LABELS[tiny.class_of(example)]) for example in tiny.examples(400, seed=9)]
        csv.writer(file).writerows([("text", "label"), *rows])
    return folder


def experiment(inputs: Path, trials: int = 5, *overrides: str) -> Experiment:
    path = inputs / "experiment.yaml"
    text = EXPERIMENT.format(model=inputs / "model", data=inputs / "texts.csv", trials=trials)
    path.write_text(text, encoding="utf-8")
    return load_experiment(path, overrides)


def search(settings: Experiment, root: Root, listener: Listener) -> Search:
    space = space_of(settings, open_data(settings))
    return Search(settings, root, space, run_here, listener.register, listener, listener)


def run_here(driver: Driver, folder: StudyFolder) -> None:
    while assignment := driver.next():
        execute(assignment, folder, lambda _: None)
        driver.record_result(assignment.number)


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Root, Listener, Outcome]:
    root, listener = Root(tmp_path_factory.mktemp("root")), Listener()
    return root, listener, search(experiment(inputs), root, listener).complete()


def test_a_search_ends_with_a_verified_front(finished: tuple[Root, Listener, Outcome]) -> None:
    root, listener, outcome = finished
    stored = records(database_url(root.optuna_database), "tiny")
    assert [record.number for record in stored] == list(range(5))
    assert outcome.baseline.record.number == 0
    assert outcome.models
    assert all(model.feasible and model.test["test_quality"].samples == 40 for model in outcome.models)
    assert all(model.record.measurements["latency_ratio"].samples >= 150 for model in outcome.models)
    assert outcome.named["champion"] in {model.record.number for model in outcome.models}
    assert {model.record.number for model in listener.verifications} == outcome.tried | {0}


def test_a_search_leaves_its_files(finished: tuple[Root, Listener, Outcome]) -> None:
    root, _, outcome = finished
    folder = root.study("tiny")
    assert read_front(folder.front) == outcome
    assert load_experiment(folder.experiment).study == "tiny"
    assert len(list(csv.DictReader(folder.trials_table.read_text().splitlines()))) == 5
    models = {path.name for path in folder.models.iterdir()}
    assert models == {f"trial-{model.record.number:04d}" for model in outcome.models}


def test_the_work_of_all_trials_is_counted_and_so_is_what_was_reused(
    finished: tuple[Root, Listener, Outcome],
) -> None:
    root, _, outcome = finished
    trials = records(database_url(root.optuna_database), "tiny")
    assert outcome.compute_s == pytest.approx(sum(record.seconds for record in trials))
    assert outcome.saved_s == sum(stage.saved for record in trials for stage in record.stages)
    assert (outcome.saved_s > 0) == any(stage.reused for record in trials for stage in record.stages)


@pytest.mark.slow
def test_the_stages_of_the_front_are_kept_while_the_search_goes_on(inputs: Path, tmp_path: Path) -> None:
    root, listener = Root(tmp_path), Listener()
    pinned: list[set[str]] = []

    def run(driver: Driver, folder: StudyFolder) -> None:
        while assignment := driver.next():
            execute(assignment, folder, lambda _: None)
            driver.record_result(assignment.number)
            pinned.append(pinned_addresses(root.stages))

    settings = experiment(inputs, 2)
    outcome = replace(search(settings, root, listener), run=run).complete()
    stored = {entry.address for entry in entries(root.stages)}
    front = {where for where in pinned[-1] if where in stored}
    assert pinned[0]
    assert front
    assert outcome.models
    assert pinned_addresses(root.stages) == set()


def test_every_verified_model_is_compared_with_the_baseline_on_the_test_split(
    finished: tuple[Root, Listener, Outcome],
) -> None:
    outcome = finished[2]
    reference = outcome.baseline
    assert reference.difference is None
    for model in (*outcome.models, *outcome.failed, *outcome.beaten):
        if model.record.number != reference.record.number:
            assert model.difference is not None
            expected = model.test["test_quality"].value - reference.test["test_quality"].value
            assert model.difference.value == pytest.approx(expected)
            assert 0 < model.difference.p_value <= 1
            assert model.gap is not None
            assert model.gap.value == model.measurements["quality"].value - model.test["test_quality"].value


def test_the_test_split_is_opened_once_and_only_for_the_front(
    finished: tuple[Root, Listener, Outcome], inputs: Path
) -> None:
    root, _, outcome = finished
    folder, held_out = root.study("tiny"), open_data(experiment(inputs)).test
    for result in folder.path.glob("trials/*/result.json"):
        assert "test_quality" not in json.loads(result.read_text())["measurements"]
    opened = {folder.predictions(number): number for number in outcome.tried | {0}}
    assert set(folder.all_predictions.iterdir()) == set(opened)
    models = {model.record.number: model for model in (outcome.baseline, *outcome.models, *outcome.failed)}
    for path in opened.keys() & {folder.predictions(number) for number in models}:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert [(line["text"], line["truth"]) for line in lines] == [
            (example.text, tiny.LABELS[tiny.class_of(example)]) for example in held_out
        ]
        right = sum(line["answer"] == line["truth"] for line in lines)
        assert right / len(lines) == models[opened[path]].test["test_accuracy"].value


@pytest.mark.slow
def test_no_trial_is_asked_about_the_test_split(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: set[str] = set()
    answer = TextClassification.answer

    def remembering(task: TextClassification, candidate: Candidate, examples: Sequence[Example]) -> list[Any]:
        scored.update(example.text for example in examples)
        return answer(task, candidate, examples)

    monkeypatch.setattr(TextClassification, "answer", remembering)
    settings = experiment(inputs, 2)
    search(settings, Root(tmp_path), Listener()).complete()  # It verifies in a process of its own.
    data = open_data(settings)
    assert scored == {example.text for example in data.validation}
    assert not scored & {example.text for example in data.test}


@pytest.mark.slow
def test_a_model_equal_to_the_baseline_does_not_differ_from_it(
    finished: tuple[Root, Listener, Outcome], tmp_path: Path
) -> None:
    root, _, outcome = finished
    folder = Root(shutil.copytree(root.path, tmp_path / "root")).study("tiny")
    twin = replace(outcome.baseline.record, number=99)
    shutil.copytree(folder.model(0), folder.model(99))
    reference, same = verify(folder, outcome.baseline.record, [twin], say=print)
    assert same.difference == Difference(0.0, 0.0, 0.0, 1.0)
    assert same.test == reference.test == outcome.baseline.test
    assert folder.predictions(99).read_bytes() == folder.predictions(0).read_bytes()


def test_a_model_whose_interval_does_not_clear_the_budget_is_not_called_feasible(
    finished: tuple[Root, Listener, Outcome],
) -> None:
    outcome = finished[2]
    for model in outcome.models:
        assert model.measurements["latency_ratio"].high <= 0.9
        assert model.record.violations["latency_p50 <= 0.9 * baseline"] <= 0


def test_running_a_finished_search_again_trains_and_opens_nothing(
    finished: tuple[Root, Listener, Outcome], inputs: Path
) -> None:
    root, _, outcome = finished
    again = Listener()
    predictions = {path: path.stat().st_mtime_ns for path in root.study("tiny").all_predictions.iterdir()}
    assert search(experiment(inputs), root, again).complete() == outcome
    assert again.verifications == []
    assert {path: path.stat().st_mtime_ns for path in predictions} == predictions


def test_a_changed_experiment_is_refused_with_the_difference(
    finished: tuple[Root, Listener, Outcome], inputs: Path
) -> None:
    changed = experiment(inputs, 5, "data.split.train=30")
    with pytest.raises(ExperimentError, match=r"data\.split\.train: 40 -> 30.*--set study=NAME"):
        search(changed, finished[0], Listener()).complete()


@pytest.mark.slow
def test_a_study_without_a_feasible_model_keeps_the_least_violating_one(inputs: Path, tmp_path: Path) -> None:
    settings = experiment(inputs, 3, "budget=[quality >= 100%, latency_p50 <= 0.0001 * baseline]")
    root, listener = Root(tmp_path), Listener()
    outcome = search(settings, root, listener).complete()
    assert outcome.models == ()
    assert outcome.named == {}
    if outcome.failed:  # All others may have been rejected by their shape.
        assert len(list(root.study("tiny").models.iterdir())) == 1


def test_a_study_is_held_by_one_process_and_its_holder_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "study" / "lock"
    with study_lock(lock):
        code = (
            "from pathlib import Path\nfrom autoopt.search.identity.lock import study_lock\n"
            f"study_lock(Path({str(lock)!r})).__enter__()"
        )
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"process {os.getpid()} of " in second.stderr
        assert "StudyLocked" in second.stderr
        assert str(os.getpid()) in str(lock_holder(lock))
    assert lock_holder(lock) is None


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom autoopt.search.identity.lock import study_lock\n"
        f"with study_lock(Path({str(lock)!r})):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(StudyLocked, match=f"process {process.pid} of "), study_lock(lock):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with study_lock(lock):
        pass


CRASHING = """
import sys
from pathlib import Path
from autoopt.search.experiment.experiment import load_experiment
from autoopt.search.paths import Root
from tests.search.study.test_lifecycle import Listener, experiment, search
from tests.places import ROOT
search(experiment(Path(sys.argv[1]), 6), Root(Path(sys.argv[2])), Listener()).complete()
"""


@pytest.mark.nightly
def test_after_kill_9_nothing_that_had_finished_runs_again(inputs: Path, tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    folder = root.study("tiny")
    command = [sys.executable, "-c", CRASHING, str(inputs), str(root.path)]
    process = subprocess.Popen(command, cwd=ROOT)
    while len(list(folder.path.glob("trials/*/result.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in folder.path.glob("trials/*/result.json")}
    # A verdict on a disturbed machine is looked at twice.
    final = {path: when for path, when in before.items() if '"noisy": true' not in path.read_text()}
    unread = {path: json.loads(path.read_text())["recipe_id"] for path in before}

    listener = Listener()
    running = [r for r in records(database_url(root.optuna_database), "tiny") if r.state is State.RUNNING]
    lost = sum(folder.result(record.number) not in before for record in running)
    search(experiment(inputs, 6), root, listener).complete()

    resuming = next(message for message in listener.said if message.startswith("resuming"))
    assert (f"{lost} were cut off" if lost else "") in resuming
    assert ("were cut off" in resuming) is bool(lost)
    stored = records(database_url(root.optuna_database), "tiny")
    ended = [record for record in stored if record.state in (State.COMPLETE, State.REJECTED, State.FAILED)]
    assert len(ended) == 6
    assert all(record.state is not State.RUNNING for record in stored)
    assert {path: path.stat().st_mtime_ns for path in final} == final
    assert len({record.recipe.id for record in ended}) == 6
    assert set(unread.values()) <= {record.recipe.id for record in ended}
