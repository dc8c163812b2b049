"""What every task promises. A new folder in ``objectives/tasks`` is tested here without another edit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.measurement import Direction
from autoopt.objectives.models.model_folder import Body
from autoopt.objectives.task import Task
from autoopt.objectives.tasks import find_task, open_task, tasks
from autoopt.strategies import saving
from autoopt.strategies.candidate import ANSWERS, Candidate, Example
from autoopt.strategies.catalog import catalog
from autoopt.strategies.errors import UsageError
from tests import tiny_decoder

MAX_LENGTH = 32
Opener = Callable[[Task, TextData], Candidate]

every_task = pytest.mark.parametrize("task_type", [pytest.param(find_task(name), id=name) for name in tasks()])


@pytest.fixture(scope="module")
def open_model(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Opener:
    """Opens a tiny model for a task, with a new head."""
    decoder = tiny_decoder.save(tmp_path_factory.mktemp("decoder"))
    folders = {Body.ANY: pretrained, Body.DECODER: decoder}
    return lambda task, data: task.open_model(str(folders[task.head.body]), data=data, seed=1)


@pytest.fixture
def data(task_type: type[Task], tmp_path: Path) -> TextData:
    """The task's sample, read from a file and split as any data is."""
    path = tmp_path / "sample.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in task_type.sample), encoding="utf-8")
    split = {"train": 2, "validation": 2, "test": 2}
    return load_text_data(DataSettings.model_validate({"source": str(path), "split": split}), task_type)


@pytest.fixture
def task(task_type: type[Task], data: TextData) -> Task:
    return task_type.of_data(data, max_length=MAX_LENGTH, metric=None)


@pytest.fixture
def candidate(task: Task, data: TextData, open_model: Opener) -> Candidate:
    return open_model(task, data)


def examples_of(data: TextData) -> list[Example]:
    return [*data.train, *data.validation, *data.test]


def repeated(text: str | None) -> str | None:
    return None if text is None else " ".join([text] * 40)


@every_task
def test_it_is_named_by_its_folder_and_described(task_type: type[Task], task: Task) -> None:
    assert find_task(task.name) is task_type
    assert (task_type.__doc__ or "").split("\n")[0].endswith(".")


@every_task
def test_its_sample_is_a_data_set_with_every_split(task_type: type[Task], data: TextData) -> None:
    assert len(task_type.sample) >= 6
    assert all((data.train, data.validation, data.test))
    assert data.warnings == ()


@every_task
def test_it_survives_its_json(task: Task) -> None:
    assert open_task(json.loads(json.dumps(task.to_json()))) == task
    assert task.to_json()["name"] == task.name


@every_task
def test_its_facts_are_words_that_a_strategy_needs(task_type: type[Task], data: TextData) -> None:
    needs = {need for strategy in catalog().values() for need in strategy.needs}
    assert task_type.facts(()) <= task_type.facts(data.train) <= needs


@every_task
def test_its_statistics_are_among_its_metrics_and_any_of_them_may_be_the_quality(task: Task) -> None:
    assert set(task.statistics) <= set(task.metrics)
    assert set(task.shown_with_quality) <= set(task.metrics)
    assert len(set(task.metrics)) == len(task.metrics)
    for metric in task.statistics:
        assert replace(task, metric=metric).metric == metric
    with pytest.raises(UsageError, match=r"'no_metric' is no metric of .*; choose"):
        replace(task, metric="no_metric")


@every_task
def test_its_settings_are_fields_with_a_description_and_a_valid_default(task_type: type[Task], task: Task) -> None:
    settings = task_type.settings()
    assert set(settings.model_fields) <= {field.name for field in fields(task)}
    assert all(field.description for field in settings.model_fields.values())
    assert replace(task, **settings().model_dump()) == task


@every_task
def test_features_are_within_the_length_and_have_answers_if_the_examples_do(
    task: Task, data: TextData, candidate: Candidate
) -> None:
    labelled = examples_of(data)
    long = [replace(e, text=repeated(e.text) or "", text_pair=repeated(e.text_pair), label=None) for e in labelled]
    for examples in (labelled, long):
        features = task.encode(examples, candidate.tokenizer)
        assert features
        assert 2 <= max(len(item["input_ids"]) for item in features) <= MAX_LENGTH
    assert all(ANSWERS & item.keys() for item in task.encode(labelled, candidate.tokenizer))
    assert task.encode([], candidate.tokenizer) == []
    assert task.encode([Example("the cup")], candidate.tokenizer)


@every_task
def test_its_model_computes_a_loss_from_its_features(task: Task, data: TextData, candidate: Candidate) -> None:
    import torch

    for item in task.encode(data.train, candidate.tokenizer):
        loss = candidate.model(**{name: torch.tensor([value]) for name, value in item.items()}).loss
        assert loss.ndim == 0
        assert torch.isfinite(loss)


@every_task
def test_answers_are_scored_with_an_interval_for_the_quality_and_each_statistic(
    task: Task, data: TextData, candidate: Candidate
) -> None:
    tuned = task.tune(candidate, data.validation)
    scored = open_task(tuned.task.to_json()).score(tuned, examples_of(data))
    assert set(scored) == {"quality", *task.statistics}
    for name, measurement in scored.items():
        assert measurement.name == name
        assert math.isfinite(measurement.value)
        assert measurement.low <= measurement.high
        assert measurement.samples == len(examples_of(data))
        assert (measurement.unit, measurement.direction) == (task.unit(name), task.direction(name))
    assert scored["quality"].direction is Direction.MAXIMIZE


@every_task
def test_an_outcome_is_a_row_of_its_example_alone(task: Task, data: TextData, candidate: Candidate) -> None:
    examples = examples_of(data)
    answers = task.answer(candidate, examples)
    outcomes = task.outcomes(examples, answers)
    assert len(outcomes) == len(examples)
    assert (task.outcomes(examples[::-1], answers[::-1]) == outcomes[::-1]).all()


@every_task
def test_its_sample_input_is_answered_as_plain_data(task: Task, candidate: Candidate) -> None:
    given = task.sample_input()
    assert given.keys() <= {"text", "text_pair"}
    (answer,) = task.predict(
        candidate, [(given["text"], given["text_pair"]) if "text_pair" in given else given["text"]]
    )
    assert isinstance(answer["label"], str)
    assert math.isfinite(answer["score"])
    assert json.loads(json.dumps(answer)) == answer
    assert task.predict(candidate, []) == []


@every_task
def test_a_saved_candidate_answers_as_before(task: Task, data: TextData, candidate: Candidate, tmp_path: Path) -> None:
    saving.save(candidate, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    assert loaded.task == task
    examples = examples_of(data)
    assert str(task.answer(loaded, examples)) == str(task.answer(candidate, examples))


@every_task
def test_a_head_is_reproduced_from_its_seed_and_kept_with_a_saved_model(
    task: Task, data: TextData, candidate: Candidate, open_model: Opener, tmp_path: Path
) -> None:
    import torch

    again = open_model(task, data)
    saving.save(candidate, tmp_path / "saved")
    reopened = task.open_model(str(tmp_path / "saved"), seed=2)
    weights = candidate.model.state_dict()
    for other in (again, reopened):
        assert all(torch.equal(tensor, weights[name]) for name, tensor in other.model.state_dict().items())
