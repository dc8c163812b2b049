from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from autoopt.strategies.system.nvml import Gpu


class NVMLError(Exception):
    """What the library raises."""


@dataclass
class Library:
    """As much of pynvml as is used; what is not known is refused as the driver does it."""

    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVMLError = NVMLError
    known: dict[str, Any] = field(default_factory=dict)
    pids: tuple[int, ...] = (os.getpid(),)
    used: tuple[tuple[int, int], ...] = ()

    def __getattr__(self, name: str) -> Any:
        def ask(*_: object) -> Any:
            if name not in self.known:
                raise NVMLError(name)
            return self.known[name]

        return ask

    def nvmlDeviceGetMaxClockInfo(self, _: object, clock: int) -> int:  # noqa: N802
        return {self.NVML_CLOCK_SM: 1980, self.NVML_CLOCK_MEM: 2619}[clock]

    def nvmlDeviceGetComputeRunningProcesses(self, _: object) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid) for pid in self.pids]

    def nvmlDeviceGetProcessUtilization(self, _: object, __: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid, smUtil=share) for pid, share in self.used]


def test_energy_is_told_in_joules_and_clocks_in_megahertz() -> None:
    gpu = Gpu(Library({"nvmlDeviceGetTotalEnergyConsumption": 12_500, "nvmlDeviceGetClockInfo": 1755}), None)
    assert gpu.joules() == 12.5
    assert gpu.clock_mhz() == 1755


def test_what_a_board_does_not_have_is_absent() -> None:
    gpu = Gpu(Library(), None)
    assert (gpu.joules(), gpu.clock_mhz()) == (None, None)
    assert gpu.limits() == {"sm_mhz": 1980, "memory_mhz": 2619}, "the power limit is not known here"


def test_others_share_is_the_sum_of_all_processes_but_ours() -> None:
    ours = os.getpid()
    gpu = Gpu(Library(pids=(ours, 7), used=((ours, 90), (7, 30), (8, 5))), None)
    assert gpu.share_of_others(since_us=0) == 0.35
    alone = Gpu(Library(pids=(ours,), used=((ours, 100),)), None)
    assert alone.share_of_others(since_us=0) == 0


def test_a_process_alone_on_a_gpu_is_undisturbed_whatever_its_pid_is_called() -> None:
    assert Gpu(Library(pids=(-5,), used=((-5, 90),)), None).share_of_others(since_us=0) == 0


def test_in_a_container_the_busiest_process_is_taken_for_ours() -> None:
    disturbed = Gpu(Library(pids=(-5, -6), used=((-5, 90), (-6, 30))), None)
    assert disturbed.share_of_others(since_us=0) == 0.3
    quiet = Gpu(Library(pids=(-5, -6), used=((-5, 90),)), None)
    assert quiet.share_of_others(since_us=0) == 0


def test_where_no_process_is_listed_nothing_is_said() -> None:
    assert Gpu(Library(pids=(), used=((-5, 90),)), None).share_of_others(since_us=0) is None


def test_the_load_of_a_gpu_is_a_share() -> None:
    gpu = Gpu(Library({"nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=87)}), None)
    assert gpu.utilization() == 0.87
    assert Gpu(Library(), None).utilization() is None


def test_a_processor_is_no_gpu() -> None:
    assert Gpu.of("cpu") is None
