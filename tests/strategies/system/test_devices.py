"""Devices: shares of GPUs, which device a thread trains on, and that a step ends when its device is done."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from autoopt.strategies.system import devices, measurement_gate
from autoopt.strategies.system.devices import (
    CPU,
    Device,
    device_at,
    gpu_share,
    training_device,
    training_on,
    worker_device,
)
from tests.strategies.recording_device import RecordingDevice


@pytest.mark.parametrize(
    ("gpus", "workers", "share"),
    [(0, 4, 0), (1, 1, 1), (1, 2, 0.5), (1, 3, 0.3333), (4, 2, 1), (8, 8, 1), (2, 3, 0.5), (2, 4, 0.5), (3, 7, 0.3333)],
)
def test_all_workers_have_a_gpu_at_once(gpus: int, workers: int, share: float) -> None:
    assert gpu_share(gpus, workers) == share
    if share:
        assert gpus * int(1 / share) >= workers


def test_trainings_are_on_the_cpu_unless_the_thread_says_otherwise() -> None:
    stand_in, elsewhere = RecordingDevice(), []
    assert training_device() is CPU
    with training_on(stand_in):
        assert training_device() is stand_in
        thread = threading.Thread(target=lambda: elsewhere.append(training_device()))
        thread.start()
        thread.join()
    assert training_device() is CPU
    assert elsewhere == [CPU]


def test_a_worker_trains_on_a_gpu_only_if_it_has_one_and_torch_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: 2)
    assert worker_device(0) == CPU
    assert worker_device(0.5) == Device("cuda:0", share=0.5)
    assert [worker_device(1, number=number).name for number in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    monkeypatch.setattr(devices, "gpu_count", lambda: 0)
    assert worker_device(1) == CPU


def test_the_device_of_a_model_elsewhere_is_not_the_training_device() -> None:
    stand_in = RecordingDevice()
    with training_on(stand_in):
        assert device_at(torch.device("cpu")) is stand_in
        assert device_at(torch.device("meta")) == Device("meta")


def test_a_step_ends_when_the_device_has_done_its_work_even_if_it_fails() -> None:
    device = RecordingDevice()
    with training_on(device):
        with measurement_gate.compute_step():
            device.calls.append("work")
        with pytest.raises(ZeroDivisionError), measurement_gate.compute_step():
            raise ZeroDivisionError
    assert device.calls == ["work", "synchronize", "synchronize"]


@pytest.mark.parametrize(
    ("message", "need"),
    [
        (
            "Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 15.70 GiB",
            "20.00 MiB more than it had, of 15.70 GiB",
        ),
        ("CUDA error: out of memory", ""),
    ],
)
def test_what_was_needed_is_read_from_the_message_of_torch(message: str, need: str) -> None:
    assert str(CPU.shortage(message)) == (f"it needed {need}" if need else "")


def test_a_shortage_is_what_was_in_use_and_what_was_asked_for() -> None:
    message = "Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.25 GiB"
    shortage = RecordingDevice().shortage(message)
    assert (shortage.device, shortage.needed_bytes) == ("Stand-in 80GB", int(5.5 * 2**30))
    assert shortage.total_bytes == 80 * 2**30
    assert CPU.shortage(message).total_bytes == int(79.25 * 2**30)


def test_gpus_that_torch_does_not_see_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(devices, "gpu_count", lambda: 0)
    assert devices.hidden_gpu_count(tmp_path) == 2
    assert devices.hidden_gpu_count(tmp_path / "none") == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.hidden_gpu_count(tmp_path) == 0
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(devices, "gpu_count", lambda: 2)
    assert devices.hidden_gpu_count(tmp_path) == 0
