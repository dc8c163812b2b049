"""The load of a device and a process: what a process that computes for half of the time is told to have used."""

from __future__ import annotations

import threading
import time

import pytest

from autoopt.strategies.system.devices import CPU
from autoopt.strategies.system.utilization import watching
from tests.strategies.recording_device import RecordingDevice


class Loaded(RecordingDevice):
    """A GPU whose load is 20 % and 60 % in turn."""

    def utilization(self) -> float:
        self.calls.append("look")
        return 0.6 if len(self.calls) % 2 else 0.2


def test_a_process_that_sleeps_uses_no_processor_and_one_that_computes_uses_one() -> None:
    with watching(CPU) as resting:
        time.sleep(0.2)
        rest = resting()
    with watching(CPU) as computing:
        started = time.thread_time()
        while time.thread_time() - started < 0.1:
            pass
        work = computing()
    assert rest.processors < 0.3 < work.processors or work.processors > 2 * rest.processors
    assert (rest.gpu, work.gpu) == (None, None)


def test_the_load_of_a_gpu_is_the_mean_of_many_looks() -> None:
    device = Loaded()
    with watching(device, interval_s=0.005) as used:
        while len(device.calls) < 20:
            time.sleep(0.005)
        assert used().gpu == pytest.approx(0.4, abs=0.03)
    assert not [thread for thread in threading.enumerate() if thread.name == "autoopt-utilization"]


def test_a_stage_shorter_than_a_look_has_the_load_at_its_end() -> None:
    with watching(RecordingDevice(), interval_s=60) as used:
        assert used().gpu == 0.87
