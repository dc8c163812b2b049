from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from autoopt.objectives.target import Target
from autoopt.objectives.timing.clock import Clock, EventClock, time_call
from autoopt.objectives.timing.latency import calibrate, compare

TARGET = Target(device="cuda")


@dataclass
class Device:
    """A GPU with a queue of work: a call returns at once, and what it asked for is done at the synchronization."""

    done_s: float = 0.0
    queued: list[object] = field(default_factory=list)
    stream_name: str = "the stream of the device"

    @property
    def clock(self) -> EventClock:
        return EventClock(
            cpu=lambda: 0.0,
            synchronize=self.synchronize,
            event=lambda: Event(self),
            stream=lambda: self.stream_name,
            frequency_mhz=lambda: 1755.0,
        )

    def work(self, seconds: float) -> None:
        self.queued.append(seconds)

    def synchronize(self) -> None:
        for item in self.queued:
            if isinstance(item, Event):
                item.reached_s = self.done_s
            elif isinstance(item, float):
                self.done_s += item
        self.queued.clear()


class Event:
    """As ``torch.cuda.Event`` is: a mark in the queue, with a time once the device has come to it."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.reached_s = -1.0

    def record(self, stream: str) -> None:
        assert stream == self.device.stream_name
        self.device.queued.append(self)

    def elapsed_time(self, other: Event) -> float:
        """In milliseconds; an event that was not reached has no time, as in CUDA."""
        if self.reached_s < 0 or other.reached_s < 0:
            raise RuntimeError("not all events were reached")
        return 1000 * (other.reached_s - self.reached_s)


def test_a_gpus_time_is_what_it_took_and_not_when_the_call_returned() -> None:
    device = Device()
    sample = time_call(lambda: device.work(0.25), device.clock, repeats=4)
    assert sample.wall_s == pytest.approx(0.25)


def test_work_that_was_queued_before_is_not_counted() -> None:
    device = Device()
    device.work(5.0)
    assert time_call(lambda: device.work(0.25), device.clock).wall_s == pytest.approx(0.25)


def test_work_that_was_queued_before_is_not_counted_by_another_clock_either() -> None:
    device = Device()
    device.work(5.0)
    clock = Clock(wall=lambda: device.done_s, synchronize=device.synchronize)
    assert time_call(lambda: device.work(0.25), clock).wall_s == pytest.approx(0.25)


def test_models_on_a_gpu_are_compared_by_its_own_time() -> None:
    device = Device()
    comparison = compare(lambda: device.work(0.01), lambda: device.work(0.04), TARGET, clock=device.clock)
    assert comparison.ratio == pytest.approx(0.25)
    assert not comparison.noisy, "the processor's share says nothing of a GPU"


def test_a_calibration_on_a_gpu_says_at_which_clock_it_ran() -> None:
    device = Device()
    calibration = calibrate(lambda: device.work(0.04), TARGET, samples=20, clock=device.clock)
    assert calibration.p50_ms == pytest.approx(40)
    assert calibration.clock_mhz == 1755.0
