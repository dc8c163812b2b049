"""A second study takes what was best in the first one, and reuses what the first one paid for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoopt.search.experiment.experiment import load_experiment
from autoopt.search.experiment.opening import open_data, space_of
from autoopt.search.paths import Root
from autoopt.search.study.lifecycle import Search
from autoopt.search.study.outcome import Outcome
from autoopt.search.study.warm_start import MAX_RECIPES, best_known
from tests.search.samples import RecordingAudience, run_here, write_experiment

pytestmark = pytest.mark.slow

WIDER = {
    "others": False,
    "full_finetuning": {"epochs": 2},
    "layer_drop": True,
    "recovery_finetuning": True,
    "int8_dynamic": True,
}


def searched(file: Path, root: Root, said: list[str], *overrides: str) -> Outcome:
    experiment = load_experiment(file, overrides)
    space = space_of(experiment, open_data(experiment))
    listener = RecordingAudience(said)

    def run(driver: object, folder: object) -> None:
        run_here(driver, folder, resources=experiment.resources, watcher=listener)  # type: ignore[arg-type]

    return Search(experiment, root, space, run, lambda *_: {}, listener, listener).complete()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Root, Outcome]:
    folder = tmp_path_factory.mktemp("first")
    file, root = write_experiment(folder, strategies=WIDER, search={"trials": 4}), Root(folder / "root")
    return file, root, searched(file, root, [])


@pytest.mark.slow
def test_a_second_study_with_another_budget_begins_with_the_front_of_the_first_and_pays_little(
    first: tuple[Path, Root, Outcome],
) -> None:
    file, root, outcome = first
    said: list[str] = []
    again = searched(file, root, said, "study=again", "search.trials=3", "budget=[latency_p50 <= 0.9 * baseline]")
    assert any(line.startswith("warm start, recipes that were best in 'news': ") for line in said)
    assert again.saved_s > 0
    tried = {str(model.record.recipe) for model in (*again.models, *again.failed, *again.beaten)}
    assert tried & {str(model.record.recipe) for model in outcome.models}


@pytest.mark.slow
def test_it_can_be_switched_off(first: tuple[Path, Root, Outcome]) -> None:
    file, root, _ = first
    said: list[str] = []
    searched(file, root, said, "study=cold", "search.trials=1", "search.warm_start=false")
    assert not any("warm start" in line for line in said)


def test_only_recipes_of_the_space_and_of_the_same_task_are_taken(first: tuple[Path, Root, Outcome]) -> None:
    file, root, _ = first
    experiment = load_experiment(file, ["study=other"])
    space = space_of(experiment, open_data(experiment))
    assert 1 <= len(best_known(experiment, root, space)) <= MAX_RECIPES
    narrow = load_experiment(file, ["study=other", "strategies={others: false, full_finetuning: {epochs: 5}}"])
    assert best_known(narrow, root, space_of(narrow, open_data(narrow))) == []
    assert best_known(load_experiment(file, ["study=other", "task=sentence_pair"]), root, space) == []
    assert best_known(experiment, Root(file.parent / "nowhere"), space) == []


def test_a_study_whose_experiment_cannot_be_read_is_left_aside(first: tuple[Path, Root, Outcome]) -> None:
    file, root, _ = first
    odd = root.study("odd").experiment
    odd.parent.mkdir(parents=True)
    odd.write_text("nonsense: true\n", encoding="utf-8")
    os.utime(odd)
    experiment = load_experiment(file, ["study=other"])
    assert {study for study, _ in best_known(experiment, root, space_of(experiment, open_data(experiment)))} <= {
        "news",
        "again",
        "cold",
    }
