"""Stages of several processes on one GPU: each begins, in turn, when its memory is free."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoopt.strategies.system import gpu_memory
from autoopt.strategies.system.devices import CPU, Device
from autoopt.strategies.system.gpu_memory import reservation, reserved
from tests.strategies.recording_device import RecordingDevice

GIB = 2**30


@dataclass(frozen=True)
class Shared(RecordingDevice):
    """One GPU of 80 GiB that all tests of this file are in turn alone on."""

    free_gib: int = 80

    @property
    def identity(self) -> str:
        return "shared"

    def free_bytes(self) -> int:
        return self.free_gib * GIB


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def waits_for(needed: int, device: Device) -> bool:
    """Whether a stage that needs this waits."""
    told, begun = threading.Event(), threading.Event()

    def run() -> None:
        with reserved(device, needed, waits=told.set):
            begun.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not told.is_set() and not begun.is_set():
        time.sleep(0.002)
    return not begun.is_set()


def test_what_fits_runs_beside_the_others_and_what_does_not_waits() -> None:
    device = Shared()
    with reserved(device, 50 * GIB):
        assert not waits_for(30 * GIB, device)
        assert waits_for(31 * GIB, device)


def test_who_waits_begins_when_the_memory_is_free() -> None:
    device, begun, told = Shared(), threading.Event(), threading.Event()

    def run() -> None:
        with reserved(device, 60 * GIB, waits=told.set):
            begun.set()

    thread = threading.Thread(target=run)
    with reserved(device, 60 * GIB):
        thread.start()
        assert told.wait(5)
        assert not begun.is_set()
    assert begun.wait(5)
    thread.join()


def test_a_stage_that_needs_all_is_not_overtaken_by_small_ones() -> None:
    device, order, told = Shared(), list[str](), threading.Event()

    def run(name: str, needed: int) -> None:
        with reserved(device, needed, waits=told.set):
            order.append(name)

    large, small = (threading.Thread(target=run, args=args) for args in (("large", 80 * GIB), ("small", GIB)))
    with reserved(device, GIB):
        large.start()
        assert told.wait(5)
        small.start()
        time.sleep(0.05)
        assert order == []
    for thread in (large, small):
        thread.join()
    assert order == ["large", "small"]


def test_memory_that_strangers_hold_is_waited_for_only_beside_our_own() -> None:
    device = Shared(free_gib=5)
    with reserved(device, 10 * GIB):
        assert not waits_for(4 * GIB, device)
        assert waits_for(6 * GIB, device)


def test_memory_that_strangers_hold_alone_is_not_waited_for() -> None:
    assert not waits_for(6 * GIB, Shared(free_gib=5))


def test_the_reservation_of_a_process_that_was_killed_is_gone(own_folder: Path) -> None:
    code = (
        "import sys, time, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from tests.strategies.system.test_gpu_memory import GIB, Shared, reserved\n"
        "with reserved(Shared(), 70 * GIB):\n"
        "    print('reserved', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(own_folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "reserved\n"
        assert waits_for(20 * GIB, Shared())
    finally:
        process.kill()
        process.communicate()
    assert not waits_for(80 * GIB, Shared())


def test_a_measured_peak_is_reserved_with_what_comes_on_top_and_an_unknown_one_as_the_share() -> None:
    device = Shared(share=0.25)
    assert reservation(device, None) == 20 * GIB
    assert reservation(device, 10 * GIB) == 12 * GIB + gpu_memory.CONTEXT_BYTES
    assert reservation(device, 79 * GIB) == 80 * GIB


def test_nothing_is_reserved_on_a_cpu(own_folder: Path) -> None:
    assert reservation(CPU, 10 * GIB) == 0
    with reserved(CPU, 10 * GIB):
        assert list(own_folder.iterdir()) == []
