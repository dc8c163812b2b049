"""A stage that runs out of memory beside others runs once more alone; then the trial fails with what it needed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from autoopt.search.trial.execution import read_record, run_or_record_failure, write_record
from autoopt.search.trial.gpu_stage import Reserve, beside_others
from autoopt.search.trial.record import State, TrialRecord
from autoopt.search.trial.run import run_trial
from autoopt.strategies.errors import Diverged, OutOfMemory
from autoopt.strategies.system import gpu_memory
from autoopt.strategies.system.devices import CPU, Device, training_on
from tests.search.trial.test_run import BASELINE, opened
from tests.strategies.recording_device import RecordingDevice

GIB = 2**30
MESSAGE = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 80.00 GiB of which ..."


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@dataclass
class Stage:
    """A stage that needs some GiB and notes what was reserved for it."""

    needs_gib: float
    reserved: list[int]

    def __call__(self, reserve: Reserve) -> str:
        with reserve():
            if self.reserved[-1] < self.needs_gib * GIB:
                raise torch.OutOfMemoryError(MESSAGE)
            return "done"


def run(stage: Stage, device: Device, monkeypatch: pytest.MonkeyPatch, *, peak_bytes: int | None = None) -> str:
    reserved = gpu_memory.reserved

    def seen(device: Device, needed_bytes: int, **named: object) -> object:
        stage.reserved.append(needed_bytes)
        return reserved(device, needed_bytes, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(gpu_memory, "reserved", seen)
    return beside_others(stage, device, stage="lora", peak_bytes=peak_bytes, waits=lambda: None)


def test_a_stage_of_unknown_memory_gets_the_share_of_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(10, [])
    assert run(stage, RecordingDevice(share=0.5), monkeypatch) == "done"
    assert stage.reserved == [40 * GIB]


def test_a_measured_stage_gets_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(10, [])
    run(stage, RecordingDevice(share=0.5), monkeypatch, peak_bytes=10 * GIB)
    assert stage.reserved == [12 * GIB + gpu_memory.CONTEXT_BYTES]


def test_a_stage_that_ran_out_of_its_share_runs_again_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, device = Stage(60, []), RecordingDevice(share=0.5)
    assert run(stage, device, monkeypatch) == "done"
    assert stage.reserved == [40 * GIB, 80 * GIB]
    assert device.calls == ["release"] * 3, "after each attempt, and once the tensors of the first are gone"


def test_a_stage_that_has_not_enough_of_all_says_what_it_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(90, [])
    with pytest.raises(
        OutOfMemory, match=r"^out of memory; it needed 3.00 GiB in use and 2.50 GiB more, of 80"
    ) as caught:
        run(stage, RecordingDevice(share=0.5), monkeypatch)
    assert stage.reserved == [40 * GIB, 80 * GIB]
    shortage = caught.value.shortage
    assert shortage is not None
    assert (shortage.stage, shortage.needed_bytes, shortage.total_bytes) == ("lora", int(5.5 * GIB), 80 * GIB)


def test_other_errors_and_the_cpu_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(reserve: Reserve) -> str:
        with reserve():
            raise Diverged("the loss is nan")

    with pytest.raises(Diverged):
        beside_others(fail, RecordingDevice(share=0.5), stage="lora", peak_bytes=None, waits=lambda: None)
    stage = Stage(1, [])
    with pytest.raises(OutOfMemory):
        run(stage, CPU, monkeypatch)
    assert stage.reserved == [0]


def test_a_trial_that_finds_no_memory_fails_with_its_shortage_and_its_record_is_read_again(tmp_path: Path) -> None:
    device = RecordingDevice(fits=3, share=0.5)

    def trial() -> TrialRecord:
        with training_on(device):
            return run_trial(1, BASELINE, opened(tmp_path), folder=tmp_path / "model", report=lambda _: None)

    record = run_or_record_failure(1, BASELINE, trial, trace=tmp_path / "error.txt")
    assert record.state is State.FAILED
    assert record.reason.startswith("OutOfMemory: out of memory at training step 0 with ")
    assert record.shortage is not None
    assert record.shortage.stage == "full_finetuning"
    assert record.shortage.needed_bytes == int(5.5 * GIB)
    write_record(record, tmp_path / "result.json")
    assert read_record(tmp_path / "result.json") == record
