"""The front of a finished study of the tiny model, trained again with further seeds in processes of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.sections import SearchSection
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.study.confirmation import confirm, further_seeds, main
from autoopt.search.study.outcome import Outcome, read_front
from autoopt.search.study.verification import Verified
from autoopt.search.trial.execution import read_record, write_record
from autoopt.search.trial.record import State
from autoopt.search.trial.run import build
from autoopt.search.trial.workspace import Workspace
from tests import tiny
from tests.places import ROOT
from tests.search.samples import BASELINE, baseline, outcome, quality, record, write_experiment
from tests.search.study.test_lifecycle import Listener, search

pytestmark = pytest.mark.slow

CRASHING = """
import sys
from pathlib import Path
from autoopt.search.paths import Root
from tests.search.study.test_confirmation import confirming
from tests.search.study.test_lifecycle import Listener, search
from tests.places import ROOT
from tests.places import ROOT
search(confirming(Path(sys.argv[1]), 3), Root(Path(sys.argv[2])), Listener()).complete()
"""


def confirming(file: Path, seeds: int) -> Experiment:
    return load_experiment(file, [f"search.confirm_seeds={seeds}"])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("given"))


@pytest.fixture(scope="module")
def finished(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A study that was searched and verified without further seeds."""
    root = Root(tmp_path_factory.mktemp("finished") / "root")
    search(load_experiment(file), root, Listener()).complete()
    return root


@pytest.fixture
def root(finished: Root, tmp_path: Path) -> Root:
    """A copy of it."""
    return Root(shutil.copytree(finished.path, tmp_path / "root"))


def front(root: Root) -> Outcome:
    outcome = read_front(root.study("news").front)
    assert outcome is not None
    return outcome


def confirmed_models(outcome: Outcome) -> dict[int, Verified]:
    return {model.record.number: model for model in (outcome.baseline, *outcome.models)}


def processes_of(folder: StudyFolder) -> list[str]:
    """The commands that run on this study and are not this test."""
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except OSError:
            continue  # It has just ended.
        commands += [command] if str(folder.path) in command and path.parent.name != str(os.getpid()) else []
    return commands


def test_the_seeds_are_those_after_the_studys_own() -> None:
    assert further_seeds(SearchSection()) == []
    assert further_seeds(SearchSection(seed=7, confirm_seeds=3)) == [8, 9]
    assert further_seeds(SearchSection(seed=2**32 - 1, confirm_seeds=2)) == [0]


def test_a_study_that_asks_for_one_seed_trains_nothing_more(finished: Root) -> None:
    assert all(model.seeds is None for model in confirmed_models(front(finished)).values())
    assert not list(finished.study("news").path.glob("trials/*/seed-*"))


def test_front_and_baseline_are_trained_with_further_seeds_and_the_choice_stays(root: Root, file: Path) -> None:
    before, listener = front(root), Listener()
    after = search(confirming(file, 2), root, listener).complete()
    assert listener.verifications == []
    assert (after.named, [model.record for model in after.models]) == (
        before.named,
        [model.record for model in before.models],
    )
    models = confirmed_models(after)
    for number, model in models.items():
        trained = read_record(root.study("news").seed_result(number, 1)).measurements
        assert model.seeds is not None
        assert model.seeds.seeds == (0, 1)
        assert model.seeds.quality.values == (model.record.measurements["quality"].value, trained["quality"].value)
        assert model.seeds.test_quality.values[1] == trained["test_quality"].value
        assert any(line.startswith(f"seed 1 of trial {number}: ") for line in listener.said)
    assert f"confirming the front with the seeds 1, models to train: {len(models)}" in listener.said
    assert read_front(root.study("news").front) == after
    assert listener.registered == [after]
    assert search(confirming(file, 1), root, Listener()).complete() == replace(before, versions=after.versions)


def test_a_further_seed_trains_another_model_on_the_same_data(finished: Root) -> None:
    own, other = (Workspace.open(finished.study("news"), seed=seed) for seed in (None, 1))
    assert (own.seed, other.seed) == (0, 1)
    assert own.data == other.data
    models = [build(BASELINE, workspace)[0].model for workspace in (own, other)]
    assert tiny.digest(models[0]) != tiny.digest(models[1])


def test_a_model_without_a_head_gets_another_one_with_another_seed(file: Path, tmp_path: Path) -> None:
    pretrained = tiny.candidate()
    headless: Any = pretrained.model.base_model
    headless.save_pretrained(tmp_path / "model")
    pretrained.tokenizer.save_pretrained(tmp_path / "model")
    experiment = load_experiment(file, [f"model={tmp_path / 'model'}"])
    bases = [Workspace.of(experiment, Root(tmp_path), scratch=tmp_path, seed=seed).base for seed in (0, 0, 1)]
    first, again, other = (tiny.digest(base.model) for base in bases)
    assert first == again != other


def test_the_studys_own_seed_gives_the_verified_model_again(root: Root) -> None:
    number = front(root).models[0].record.number
    folder = root.study("news")
    main([str(folder.path), "0", str(number)])
    again, model = read_record(folder.seed_result(number, 0)).measurements, front(root).models[0]
    assert again["quality"] == model.record.measurements["quality"]
    assert again["test_quality"].value == model.test["test_quality"].value


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes by /proc, which this system lacks")
def test_a_kill_between_two_seeds_loses_none_that_was_trained_and_leaves_no_process(root: Root, file: Path) -> None:
    folder = root.study("news")
    expected = {folder.seed_result(number, seed) for number in confirmed_models(front(root)) for seed in (1, 2)}
    command = [sys.executable, "-c", CRASHING, str(file), str(root.path)]
    process = subprocess.Popen(command, cwd=ROOT)
    while not list(folder.path.glob("trials/*/seed-1.json")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while processes_of(folder):
        time.sleep(0.05)
    before = {path: path.stat().st_mtime_ns for path in expected if path.is_file()}
    assert before
    assert set(before) < expected

    after = search(confirming(file, 3), root, Listener()).complete()

    assert {path: path.stat().st_mtime_ns for path in before} == before
    seeds = [model.seeds.seeds for model in confirmed_models(after).values() if model.seeds]
    assert seeds == [(0, 1, 2)] * (len(expected) // 2)


def test_a_training_process_ends_with_the_one_that_started_it(root: Root) -> None:
    folder, number = root.study("news"), front(root).baseline.record.number
    command = [sys.executable, "-m", "autoopt.search.study.confirmation", str(folder.path), "1", str(number)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()  # As the system does it for a process that is gone.
    assert process.wait() == 1
    assert not folder.seed_result(number, 1).exists()


@pytest.mark.slow
def test_an_interruption_stops_the_training(root: Root, file: Path) -> None:
    def interrupted(message: str) -> None:
        if message.startswith("seed 1 of trial"):
            raise KeyboardInterrupt

    folder = root.study("news")
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        confirm(front(root), folder, confirming(file, 3), interrupted)
    if Path("/proc/self/cmdline").exists():
        assert processes_of(folder) == []


def written(folder: StudyFolder, number: int, seed: int, value: float, **changes: object) -> None:
    folder.trial(number).mkdir(parents=True, exist_ok=True)
    measured = {"quality": quality(value, value, value), "test_quality": quality(value - 0.01, 0, 1, "test_quality")}
    trained = replace(record(number), measurements=measured)
    write_record(replace(trained, **changes), folder.seed_result(number, seed))  # type: ignore[arg-type]


def test_a_seed_whose_training_failed_is_counted_and_not_averaged(tmp_path: Path, file: Path) -> None:
    folder = StudyFolder(tmp_path)
    for number in (0, 3, 5):
        written(folder, number, 1, 0.90)
        written(folder, number, 2, 0.0, state=State.FAILED, measurements={}, reason="Diverged: the loss is nan")
    said: list[str] = []
    best = confirm(outcome(), folder, confirming(file, 3), said.append).models[0]
    assert said == []
    assert best.seeds is not None
    assert best.seeds.seeds == (0, 1)
    assert best.seeds.quality.values == (0.965, 0.90)
    assert best.seeds.failed == {2: "Diverged: the loss is nan"}


def test_a_study_with_nothing_feasible_has_nothing_to_confirm(tmp_path: Path, file: Path) -> None:
    empty = outcome(models=(), named={})
    assert confirm(empty, StudyFolder(tmp_path), confirming(file, 3), pytest.fail) == empty


def test_a_process_that_dies_is_told_of_and_the_front_is_kept(tmp_path: Path, file: Path) -> None:
    said: list[str] = []
    alone = outcome(models=(Verified(baseline(), {}),), named={"champion": 0})
    assert confirm(alone, StudyFolder(tmp_path), confirming(file, 2), said.append) == alone
    assert said[0] == "confirming the front with the seeds 1, models to train: 1"
    # The error itself, not that of an interpreter that was aborted at its end.
    assert "the training with seed 1 failed: autoopt.strategies.errors.UnknownName: there is no experiment" in said[1]
    assert "missing models are trained when you search again" in said[1]
