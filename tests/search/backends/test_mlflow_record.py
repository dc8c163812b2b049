from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.backends import mlflow_record
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import StageRecord, State, TrialRecord


@pytest.fixture
def trial() -> TrialRecord:
    quality = Measurement(
        name="quality", value=0.9, unit="", direction=Direction.MAXIMIZE, low=0.88, high=0.92, samples=300
    )
    return TrialRecord(
        number=5,
        recipe=Recipe.from_json(
            [{"strategy": "full_finetuning", "epochs": 2}, {"strategy": "layer_drop", "keep": 0.33}]
        ),
        state=State.COMPLETE,
        measurements={"quality": quality},
        violations={"latency_p95 <= 12 ms": -0.2, "size <= 60 MB": 0.5},
        stages=(StageRecord("full_finetuning", 2.0, reused=False), StageRecord("full_finetuning", 1.5, reused=False)),
        seconds=4.0,
    )


def test_every_knob_is_a_parameter_and_a_setting_is_none(trial: TrialRecord) -> None:
    parameters = mlflow_record.parameters(trial)
    assert parameters["layer_drop.keep"] == "0.33"
    assert parameters["full_finetuning.epochs"] == "2"
    assert parameters["recipe"] == str(trial.recipe)
    assert "full_finetuning.batch_size" not in parameters


def test_a_measurement_goes_with_its_interval_and_a_stage_with_the_sum_of_its_seconds(trial: TrialRecord) -> None:
    assert mlflow_record.metrics(trial) == {
        "quality": 0.9,
        "quality_low": 0.88,
        "quality_high": 0.92,
        "seconds": 4.0,
        "stage_seconds.full_finetuning": 3.5,
        "total_violation": 0.5,
    }


def test_what_is_not_finite_is_left_out(trial: TrialRecord) -> None:
    endless = replace(trial.measurements["quality"], value=math.nan, high=math.inf)
    metrics = mlflow_record.metrics(replace(trial, measurements={"quality": endless}))
    assert "quality_low" in metrics
    assert not {"quality", "quality_high"} & set(metrics)


def test_a_name_that_mlflow_refuses_is_mended(trial: TrialRecord) -> None:
    odd = {"f1@ma<cro>": trial.measurements["quality"]}
    assert "f1_ma_cro_" in mlflow_record.metrics(replace(trial, measurements=odd))


def test_tags_say_how_the_trial_ended_within_the_limits(trial: TrialRecord) -> None:
    tags = mlflow_record.tags(replace(trial, state=State.FAILED, reason="x" * 9000))
    assert tags["autoopt.state"] == "failed"
    assert tags["autoopt.feasible"] == "false"
    assert len(tags["autoopt.reason"]) == mlflow_record.MAX_TAG_CHARACTERS


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.RUNNING, "RUNNING"),
        (State.COMPLETE, "FINISHED"),
        (State.REJECTED, "KILLED"),
        (State.STOPPED, "KILLED"),
        (State.FAILED, "FAILED"),
    ],
)
def test_every_state_has_a_status(state: State, status: str) -> None:
    assert mlflow_record.run_status(state) == status


def test_of_several_base_models_that_of_the_recipe_is_a_parameter(trial: TrialRecord) -> None:
    assert "model" not in mlflow_record.parameters(trial, ["large"])
    assert mlflow_record.parameters(trial, ["large", "small"])["model"] == "large"
    of_small = replace(trial, recipe=replace(trial.recipe, model="small"))
    assert mlflow_record.parameters(of_small, ["large", "small"])["model"] == "small"
