"""Batches are prepared in a thread while the device computes the step before; on a CPU when they are needed."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import Diverged
from autoopt.strategies.system.devices import CPU, Device, training_on
from autoopt.strategies.training import precision
from autoopt.strategies.training.batches import collate
from autoopt.strategies.training.loader import load
from autoopt.strategies.training.loop import TASK_LOSS, Schedule, train
from tests import tiny
from tests.strategies.recording_device import RecordingDevice

SCHEDULE = Schedule(learning_rate=2e-3, epochs=1, batch_size=8)
"""With 24 examples 3 steps."""
PINNED = "pin {} in autoopt-loader"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Candidate:
    monkeypatch.setattr(precision, "training_precision", lambda _: torch.float32)
    return tiny.candidate(layers=2)


def run(given: Candidate, device: Device, **changes: Any) -> list[float]:
    with training_on(device):
        return train(given.model, given.features(), SCHEDULE, pad_token_id=0, effort=1, seed=0, **changes)


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("autoopt-loader")]


def test_the_next_batch_is_asked_for_before_a_batch_is_given(given: Candidate) -> None:
    device = RecordingDevice()
    batches = [given.features()[start : start + 8] for start in (0, 8, 16)]
    asked: list[int] = []

    def part_size(examples: int) -> int:
        asked.append(examples)
        return 4

    for number, batch in enumerate(load(iter(batches), device, part_size=part_size, pad_token_id=0)):
        assert len(asked) == min(number + 2, 3)
        parts = list(batch.parts(4))
        wanted = [collate(batches[number][start : start + 4], pad_token_id=0) for start in (0, 4)]
        for part, whole in zip(parts, wanted, strict=True):
            assert all(torch.equal(part[name], whole[name]) for name in whole)
    assert device.calls == [PINNED.format(4)] * 6
    assert not loader_threads()


def test_a_training_sends_what_the_thread_has_prepared(given: Candidate) -> None:
    device = RecordingDevice()
    run(given, device)
    assert [call for call in device.calls if call.startswith("pin")] == [PINNED.format(8)] * 3
    assert device.sent() == [8] * 3
    assert not loader_threads()


def test_once_memory_ran_out_the_batches_are_prepared_in_halves(given: Candidate) -> None:
    device = RecordingDevice(fits=4)
    run(given, device)
    pins = [call for call in device.calls if call.startswith("pin")]
    assert pins == [PINNED.format(8)] * 2 + [PINNED.format(4)] * 2
    assert device.sent() == [8, *[4, 4] * 3]


def test_on_a_cpu_there_is_no_thread(given: Candidate) -> None:
    seen: list[list[str]] = []

    def loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(loader_threads())
        return TASK_LOSS(model, batch)

    run(given, CPU, loss=loss)
    assert seen == [[]] * 3


def test_the_weights_are_the_same_bit_for_bit(given: Candidate) -> None:
    assert run(given, RecordingDevice()) == run(tiny.candidate(layers=2), CPU)


def test_the_thread_ends_with_a_training_that_fails(given: Candidate) -> None:
    def loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        assert loader_threads()
        return TASK_LOSS(model, batch) * float("nan")

    with pytest.raises(Diverged, match="the loss is nan at training step 0"):
        run(given, RecordingDevice(), loss=loss)
    assert not loader_threads()
