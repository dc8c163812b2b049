"""Trials as rows of Optuna's database: whole or not at all, each number once, and as Optuna itself reads them."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest

from autoopt.search.backends.optuna_storage import database_url, storage_at
from autoopt.strategies.errors import StudyLocked

DISTRIBUTIONS = {
    "epochs": optuna.distributions.IntDistribution(1, 8),
    "cut": optuna.distributions.CategoricalDistribution(("none", "layer_drop")),
}
RUNNING, COMPLETE = optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.COMPLETE


def running(**attributes: Any) -> optuna.trial.FrozenTrial:
    parameters = {"epochs": 3, "cut": "layer_drop"}
    return optuna.trial.create_trial(
        state=RUNNING, params=parameters, distributions=DISTRIBUTIONS, user_attrs=attributes or {"recipe": "a"}
    )


@pytest.fixture
def opened(tmp_path: Path) -> tuple[Any, optuna.Study]:
    storage = storage_at(database_url(tmp_path / "optuna.db"))
    return storage, optuna.create_study(storage=storage, study_name="s", directions=["maximize", "minimize"])


def test_optuna_reads_what_was_written(opened: tuple[Any, optuna.Study]) -> None:
    storage, study = opened
    number = storage.begin_trial("s", running(recipe="a", size=3))
    (stored,) = study.get_trials()
    assert (number, stored.number, stored.state) == (0, 0, RUNNING)
    assert stored.params == {"epochs": 3, "cut": "layer_drop"}
    assert stored.distributions == DISTRIBUTIONS
    assert stored.user_attrs == {"recipe": "a", "size": 3}
    assert stored.datetime_start is not None
    storage.end_trial("s", number, COMPLETE, [0.9, math.inf], {"size": 4}, {"constraints": [-1.0]})
    (ended,) = study.get_trials()
    assert (ended.state, ended.values) == (COMPLETE, [0.9, math.inf])
    assert ended.user_attrs == {"recipe": "a", "size": 4}
    assert ended.system_attrs == {"constraints": [-1.0]}
    assert ended.datetime_complete is not None


def test_how_a_trial_ended_is_written_once(opened: tuple[Any, optuna.Study]) -> None:
    storage, study = opened
    number = storage.begin_trial("s", running())
    for _ in range(2):  # The acknowledgement of the first commit may have been lost.
        storage.end_trial("s", number, COMPLETE, [0.9, 1.0], {"outcome": "first", "pair": (1, 2)}, {})
    with pytest.raises(StudyLocked, match=r"trial 0 of 's' has been ended by another driver .*\(complete\)"):
        storage.end_trial("s", number, optuna.trial.TrialState.FAIL, None, {"outcome": "first"}, {})
    with pytest.raises(StudyLocked, match="another result"):
        storage.end_trial("s", number, COMPLETE, [0.8, 1.0], {"outcome": "second"}, {})
    (ended,) = study.get_trials()
    assert (ended.state, ended.values, ended.user_attrs["outcome"]) == (COMPLETE, [0.9, 1.0], "first")


def test_of_a_trial_that_cannot_be_written_nothing_stays(opened: tuple[Any, optuna.Study]) -> None:
    storage, study = opened
    with pytest.raises(TypeError):
        storage.begin_trial("s", running(recipe=object()))
    assert study.get_trials() == []
    number = storage.begin_trial("s", running())
    with pytest.raises(TypeError):
        storage.end_trial("s", number, COMPLETE, [0.9, 1.0], {"outcome": "known"}, {"constraints": object()})
    (still,) = study.get_trials()
    assert (still.state, still.user_attrs) == (RUNNING, {"recipe": "a"})


@pytest.mark.usefixtures("opened")
def test_each_number_is_assigned_once_to_concurrent_writers(tmp_path: Path) -> None:
    storages = [storage_at(database_url(tmp_path / "optuna.db")) for _ in range(4)]

    def begin(place: int) -> int:
        return int(storages[place % 4].begin_trial("s", running()))

    with ThreadPoolExecutor(4) as threads:
        numbers = list(threads.map(begin, range(40)))
    assert sorted(numbers) == list(range(40))


def test_studies_of_one_database_number_and_end_their_trials_apart(opened: tuple[Any, optuna.Study]) -> None:
    storage, study = opened
    other = optuna.create_study(storage=storage, study_name="other", directions=["maximize", "minimize"])
    assert [storage.begin_trial("s", running()), storage.begin_trial("other", running())] == [0, 0]
    storage.end_trial("other", 0, COMPLETE, [0.9, 1.0], {}, {})
    assert [study.get_trials()[0].state, other.get_trials()[0].state] == [RUNNING, COMPLETE]


def test_a_driver_whose_study_was_taken_over_can_write_no_more(
    opened: tuple[Any, optuna.Study], tmp_path: Path
) -> None:
    first, study = opened
    holders = [
        {"process": number, "user": "ada", "host": "box", "since": "noon", "token": str(number)} for number in (1, 2)
    ]
    study.set_user_attr("holder", holders[0])
    first.holder = holders[0]
    number = first.begin_trial("s", running())
    second = storage_at(database_url(tmp_path / "optuna.db"))
    study.set_user_attr("holder", holders[1])
    second.holder = holders[1]
    taken_over = "taken over by process 2 of ada on box since noon"
    with pytest.raises(StudyLocked, match=taken_over):
        first.end_trial("s", number, COMPLETE, [0.9, 1.0], {}, {})
    with pytest.raises(StudyLocked, match=taken_over):
        first.begin_trial("s", running())
    second.end_trial("s", number, COMPLETE, [0.8, 1.0], {}, {})
    assert [trial.values for trial in study.get_trials()] == [[0.8, 1.0]]
