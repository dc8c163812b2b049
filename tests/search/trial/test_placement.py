"""Where the stages of a trial run, seen by a stand-in for a GPU."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.search.report.tables import stages_table
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial import other_bases
from autoopt.search.trial.placement import Placement
from autoopt.search.trial.record import TrialRecord
from autoopt.search.trial.run import build, run_trial
from autoopt.strategies.catalog import find
from autoopt.strategies.system.devices import CPU, training_on
from autoopt.strategies.system.locks import SharedLock
from tests.search.trial.test_run import BASELINE, LEAF, opened
from tests.strategies.recording_device import RecordingDevice

CUT = Recipe.of([find("class_weights")(), find("full_finetuning")(), find("layer_drop")(), find("distillation")()])


@dataclass(frozen=True)
class Gated(RecordingDevice):
    """Notes what it does while a measurement could begin."""

    open_calls: list[str] = field(default_factory=list)

    def place(self, model: Any) -> Any:
        self._look("place")
        return super().place(model)

    def send(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self._look("send")
        return super().send(batch)

    def _look(self, call: str) -> None:
        gate = SharedLock(Path(tempfile.gettempdir()) / f"autoopt-{os.getuid()}.gate")
        if os.getpid() not in gate.holders():
            self.open_calls.append(call)


def run(recipe: Recipe, folder: Path, device: RecordingDevice) -> TrialRecord:
    with training_on(device):
        return run_trial(1, recipe, opened(folder), folder=folder / "model", report=lambda _: None)


def test_what_learns_runs_on_the_training_device_and_what_is_accelerated_on_the_cpu(tmp_path: Path) -> None:
    record = run(LEAF, tmp_path, RecordingDevice())
    assert {stage.name: stage.device for stage in record.stages} == {
        "screening": "",
        "full_finetuning": "Stand-in 80GB",
        "layer_drop": "Stand-in 80GB",
        "distillation": "Stand-in 80GB",
        "int8_dynamic": "cpu",
        "scoring": "cpu",
    }
    assert {stage.peak_bytes for stage in record.stages if stage.device == "Stand-in 80GB"} == {3 * 2**30}
    assert {stage.peak_bytes for stage in record.stages if stage.device in ("", "cpu")} == {None}


def test_a_model_that_is_not_accelerated_is_scored_on_the_training_device(tmp_path: Path) -> None:
    device = RecordingDevice()
    stages = {stage.name: stage.device for stage in run(CUT, tmp_path, device).stages}
    assert (stages["class_weights"], stages["scoring"]) == ("cpu", "Stand-in 80GB")
    batches = [call for call in device.calls if call.startswith("send") and call != "send 1"]  # Those are timed.
    assert len(batches) > 0
    assert device.calls.count("synchronize") >= len(batches)


def test_the_baseline_goes_to_the_device_for_its_training_and_the_base_stays(tmp_path: Path) -> None:
    workspace, device = opened(tmp_path), RecordingDevice()
    with training_on(device):
        placement = Placement.of(workspace.base.model, effort=1.0)
        (step,) = BASELINE.steps
        placed = placement.for_step(workspace.base, step)
        again = placement.for_step(placed, step)
    assert placed.model is not workspace.base.model
    assert again.model is placed.model
    assert device.calls == ["place BertForSequenceClassification", "synchronize"] * 2


def test_the_teacher_is_where_the_step_runs_that_needs_it(tmp_path: Path) -> None:
    workspace, device = opened(tmp_path), RecordingDevice()
    candidate = replace(workspace.base, model=workspace.base.copy_model(), teacher=workspace.base.copy_model())
    Placement(device, set()).for_step(candidate, find("distillation")())
    assert len(device.calls) == 2
    Placement(device, set()).for_step(candidate, find("layer_drop")())
    assert len(device.calls) == 3, "the teacher stays where it is"


@pytest.mark.skipif(sys.platform != "linux", reason="who holds a lock is read from /proc/locks")
def test_all_work_of_the_gpu_holds_the_gate_that_measurements_close(tmp_path: Path) -> None:
    device = Gated()
    run(CUT, tmp_path, device)
    assert len([call for call in device.calls if call.startswith(("place", "send"))]) > 10
    assert device.open_calls == []


def test_nothing_is_moved_for_a_shape_alone_or_without_a_device(tmp_path: Path) -> None:
    workspace, device = opened(tmp_path), RecordingDevice()
    with training_on(device):
        build(LEAF, workspace, effort=0.0)
    assert [call for call in device.calls if call.startswith("place")] == []
    assert Placement.of(effort=1.0).device is CPU
    assert Placement.of(effort=1.0).for_step(workspace.base, BASELINE.steps[0]).model is workspace.base.model


def test_the_address_of_a_stage_follows_the_precision_of_the_training_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_bases, "training_precision", lambda device: f"precision of {device}")
    workspace = opened(tmp_path)
    on_cpu = other_bases.origin_of(workspace.base, workspace.data)
    with training_on(RecordingDevice("meta")):
        assert other_bases.origin_of(workspace.base, workspace.data) != on_cpu


def test_show_says_where_a_stage_ran_and_what_memory_it_took(tmp_path: Path) -> None:
    record = run(BASELINE, tmp_path, RecordingDevice())
    places = list(stages_table(record).columns[2].cells)
    assert places[1:] == ["Stand-in 80GB, 3.2 GB at most, 87% busy"] * 2


def test_a_record_of_an_earlier_version_still_loads(tmp_path: Path) -> None:
    record = run(BASELINE, tmp_path, RecordingDevice())
    fields = record.to_json()
    assert TrialRecord.from_json(fields).stages == record.stages
    assert {(stage.processors is None, stage.gpu_utilization) for stage in record.stages[1:]} == {(False, 0.87)}
    kept = ("name", "seconds", "reused", "saved")
    fields["stages"] = [{name: stage[name] for name in kept} for stage in fields["stages"]]
    assert {stage.device for stage in TrialRecord.from_json(fields).stages} == {""}


@pytest.mark.parametrize(
    ("names", "on_cpu"),
    [
        (["full_finetuning", "layer_drop", "distillation"], False),
        (["full_finetuning", "int8_dynamic"], True),
        (["full_finetuning", "static_embeddings"], True),
        (["linear_bag"], True),
    ],
)
def test_what_computes_on_the_cpu_alone_is_scored_there(names: list[str], *, on_cpu: bool) -> None:
    recipe = Recipe.of([find(name)() for name in names])
    assert (Placement(RecordingDevice(), ()).scoring_device(recipe) is CPU) is on_cpu
