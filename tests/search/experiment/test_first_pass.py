"""How many examples a search uses, by training steps that are really timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.search.experiment import first_pass
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.first_pass import as_many_as_fit, measure_speed
from autoopt.search.experiment.opening import open_data, task_of
from autoopt.search.experiment.time_plan import Deadline, Speed
from tests.search.samples import write_experiment

SLOW = 2.0
"""Seconds for an example with which the time decides."""


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return load_experiment(write_experiment(tmp_path / "given"))


def limited(
    experiment: Experiment, timeout_s: float | None, stored: Experiment | None = None
) -> tuple[Experiment, str]:
    data = open_data(experiment)
    deadline = Deadline.starting_now(timeout_s)
    return as_many_as_fit(experiment, data, task_of(experiment, data), deadline, stored)


def samples(experiment: Experiment) -> list[object]:
    data = experiment.data
    return [data.max_train_samples, data.max_validation_samples, data.max_test_samples]


def test_the_speed_is_that_of_real_steps(experiment: Experiment) -> None:
    data = open_data(experiment)
    speed = measure_speed(experiment, data, task_of(experiment, data))
    assert speed is not None
    assert 0 < speed.forward_s < speed.train_s < 0.1, "a step of a tiny model takes milliseconds"


def test_a_tiny_model_has_time_for_everything(experiment: Experiment) -> None:
    assert limited(experiment, 300.0) == (experiment, "")
    assert limited(experiment, None) == (experiment, "")


def test_a_slow_model_gets_as_many_examples_as_fit_and_the_user_is_told(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoopt.search.experiment.time_plan.LEAST", {"train": 4, "validation": 4, "test": 4})
    monkeypatch.setattr(first_pass, "measure_speed", lambda *_: Speed(SLOW, SLOW / 4))
    fitted, message = limited(experiment, 300.0)
    train, validation, test = samples(fitted)
    sizes = open_data(experiment)
    assert 4 <= train < len(sizes.train)  # type: ignore[operator]
    assert len(open_data(fitted).train) == train
    assert message.startswith(f"to be done in time the search trains on {train} of {len(sizes.train)}")
    assert "all of them take a timeout of about" in message
    given = experiment.model_copy(update={"data": experiment.data.model_copy(update={"max_train_samples": "all"})})
    assert samples(limited(given, 300.0)[0]) == ["all", validation, test], "what the user says stays"


def test_a_study_that_is_resumed_keeps_its_samples(experiment: Experiment) -> None:
    stored = experiment.model_copy(update={"data": experiment.data.model_copy(update={"max_train_samples": 7})})
    assert samples(limited(experiment, 300.0, stored)[0]) == [7, "auto", "auto"]
    assert samples(limited(experiment, None, stored)[0]) == [7, "auto", "auto"]
    assert limited(stored, None, experiment)[0] == stored, "a number that is given is compared by the study itself"


def test_a_worker_with_a_gpu_is_not_timed_on_this_processor(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_pass, "gpu_count", lambda: 1)
    monkeypatch.setattr(first_pass, "measure_speed", lambda *_: pytest.fail("it was timed"))
    assert limited(experiment, 300.0) == (experiment, "")
