from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoopt.objectives.target import Target
from autoopt.objectives.timing.clock import Clock
from autoopt.objectives.timing.neighbours import watch_gpu, watch_nothing, watch_processors
from autoopt.strategies.system.nvml import Gpu

TICK = 1 / os.sysconf("SC_CLK_TCK")
LINUX = pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="only Linux says what the processors do")


class Kernel:
    """A file as ``/proc/stat`` is, and the clocks of a process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall_s = self.own_s = 0.0
        self.write()

    def write(self, *, user: float = 0.0, idle: float = 0.0, waiting: float = 0.0, stolen: float = 0.0) -> None:
        def line(name: str, of_it: float) -> str:
            ticks = [user, 0, 0, idle, waiting, 0, 0, stolen, user, 0]
            return f"{name} {' '.join(str(round(of_it * seconds / TICK)) for seconds in ticks)}"

        ours = sorted(os.sched_getaffinity(0))
        lines = [line("cpu", 100), *(line(f"cpu{number}", 1 / len(ours)) for number in ours), line("cpu9999", 100)]
        self.path.write_text("\n".join([*lines, "intr 5", "ctxt 7"]) + "\n", encoding="ascii")

    def others_use(self, **seconds: float) -> float | None:
        """Over ten seconds, in which we use eight."""
        stop = watch_processors(stat=self.path, own=lambda: self.own_s, wall=lambda: self.wall_s)
        self.wall_s, self.own_s = self.wall_s + 10, self.own_s + 8
        self.write(**seconds)
        return stop()


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path / "stat")


def test_others_use_what_the_processors_did_and_we_did_not(kernel: Kernel) -> None:
    assert kernel.others_use(user=13) == pytest.approx(0.5, abs=0.01)


def test_time_that_the_host_took_away_is_others_work(kernel: Kernel) -> None:
    assert kernel.others_use(user=8, stolen=5) == pytest.approx(0.5, abs=0.01)


def test_an_idle_processor_and_one_that_waits_for_a_disk_are_not_busy(kernel: Kernel) -> None:
    assert kernel.others_use(user=8, idle=8, waiting=4) == 0


def test_what_is_within_the_ticks_of_the_kernel_is_nobodys_work(kernel: Kernel) -> None:
    assert kernel.others_use(user=8 + 2 * TICK) == pytest.approx(0)
    assert kernel.others_use(user=7.9) == 0


def test_nothing_is_known_where_the_kernel_does_not_say(tmp_path: Path) -> None:
    assert watch_processors(stat=tmp_path / "none")() is None
    assert watch_nothing()() is None


@LINUX
def test_a_process_that_spins_beside_us_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as spinning:
        try:
            stop = watch_processors()
            deadline = time.monotonic() + 60
            while (stop() or 0.0) < 0.3 and time.monotonic() < deadline:
                time.sleep(0.1)
            assert (stop() or 0.0) >= 0.3
        finally:
            spinning.kill()


@LINUX
def test_the_clock_of_a_processor_looks_at_its_neighbours() -> None:
    assert Clock.of(Target()).watch()() is not None


def test_without_nvml_nothing_is_known_of_a_gpu() -> None:
    assert watch_gpu(Target(device="cpu"))() is None


def test_what_others_do_on_a_gpu_is_asked_from_the_beginning_of_the_timing() -> None:
    class Asked(Gpu):
        def share_of_others(self, *, since_us: int) -> float | None:
            return 0.25 if abs(since_us / 1e6 - time.time()) < 60 else None

    assert watch_gpu(Target(device="cuda"), gpu=Asked(None, None))() == 0.25
