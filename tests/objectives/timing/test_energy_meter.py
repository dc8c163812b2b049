from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoopt.objectives.measurement import Direction
from autoopt.objectives.target import Target
from autoopt.objectives.timing.attempts import PAUSE_S
from autoopt.objectives.timing.clock import Clock
from autoopt.objectives.timing.energy_meter import BLOCKS, RaplDomain, measure_energy, open_meter
from autoopt.strategies.errors import EnvironmentProblem
from autoopt.strategies.system.nvml import Gpu

ROUND_UJ = 262_143_328_850
"""What such a counter really counts to."""


def domain(powercap: Path, name: str, kind: str, count_uj: int = 0) -> Path:
    folder = powercap / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{kind}\n", encoding="ascii")
    (folder / "energy_uj").write_text(f"{count_uj}\n", encoding="ascii")
    (folder / "max_energy_range_uj").write_text(f"{ROUND_UJ}\n", encoding="ascii")
    return folder


def count(folder: Path, count_uj: int) -> None:
    (folder / "energy_uj").write_text(f"{count_uj}\n", encoding="ascii")


def test_all_packages_are_counted_and_nothing_twice(tmp_path: Path) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 2_000_000)
    core = domain(tmp_path, "intel-rapl:0:0", "core", 900_000)
    whole = domain(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    meter = open_meter(Target(), powercap=tmp_path)
    joules_before = meter()
    count(first, 1_500_000)
    count(second, 2_250_000)
    count(core, 1_100_000)
    count(whole, 11_000_000)
    assert meter() - joules_before == pytest.approx(0.75)


def test_a_counter_that_begins_again_at_zero_has_not_given_energy_back(tmp_path: Path) -> None:
    folder = domain(tmp_path, "intel-rapl:0", "package-0", ROUND_UJ - 400_000)
    meter = open_meter(Target(), powercap=tmp_path)
    joules_before = meter()
    count(folder, 600_000 - 1)
    assert meter() - joules_before == pytest.approx(1.0)
    count(folder, ROUND_UJ)
    assert meter() > joules_before
    count(folder, 0)
    assert meter() - joules_before == pytest.approx((400_000 + ROUND_UJ + 2) / 1e6)


def test_a_domain_reads_microjoules(tmp_path: Path) -> None:
    assert RaplDomain(domain(tmp_path, "intel-rapl:0", "package-0", 2_500_000)).joules() == 2.5


def test_without_a_counter_it_is_said_that_rapl_is_missing(tmp_path: Path) -> None:
    domain(tmp_path, "intel-rapl:0:0", "core")
    for powercap in (tmp_path, tmp_path / "none"):
        with pytest.raises(EnvironmentProblem, match=r"energy cannot be measured here: .* has no intel-rapl package"):
            open_meter(Target(), powercap=powercap)


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may read everything")
def test_a_counter_that_only_the_administrator_may_read_is_named_with_the_remedy(tmp_path: Path) -> None:
    (domain(tmp_path, "intel-rapl:0", "package-0") / "energy_uj").chmod(0)
    with pytest.raises(EnvironmentProblem, match=r"energy_uj is readable by the administrator only; 'sudo chmod"):
        open_meter(Target(), powercap=tmp_path)


def test_a_refused_counter_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = domain(tmp_path, "intel-rapl:0", "package-0")

    def refuse(_: RaplDomain) -> float:
        raise PermissionError(13, "Permission denied", str(folder / "energy_uj"))

    monkeypatch.setattr(RaplDomain, "joules", refuse)
    with pytest.raises(EnvironmentProblem, match=r"energy_uj is readable by the administrator only; 'sudo chmod a\+r"):
        open_meter(Target(), powercap=tmp_path)


def test_without_nvml_it_is_said_that_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gpu, "of", lambda _: None)
    with pytest.raises(EnvironmentProblem, match=r"NVML does not answer for cuda:1; 'pip install nvidia-ml-py'"):
        open_meter(Target(device="cuda:1"))


def test_a_gpu_that_does_not_count_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Gpu):
        def joules(self) -> float | None:
            return None

    monkeypatch.setattr(Gpu, "of", lambda _: Silent(None, None))
    with pytest.raises(EnvironmentProblem, match=r"the GPU of cuda does not count it"):
        open_meter(Target(device="cuda"))


@dataclass
class Machine:
    """Time passes and energy is used only in calls."""

    watts: float = 50.0
    wall_s: float = 0.0
    joules: float = 0.0
    others: float | None = 0.0
    pauses: int = 0

    @property
    def clock(self) -> Clock:
        return Clock(wall=lambda: self.wall_s, watch=lambda: lambda: self.others, pause=self.pause)

    def pause(self, seconds: float) -> None:
        assert seconds == PAUSE_S
        self.pauses += 1

    def call(self, seconds: float) -> None:
        self.wall_s += seconds
        self.joules += seconds * self.watts


def test_an_example_takes_its_share_of_the_power_in_its_time() -> None:
    machine = Machine()
    measured = measure_energy(
        lambda: machine.call(0.04), Target(batch_size=8), lambda: machine.joules, clock=machine.clock
    )
    assert measured.value == measured.low == measured.high == pytest.approx(50 * 0.04 / 8)
    assert (measured.name, measured.unit, measured.direction) == ("energy", "J", Direction.MINIMIZE)
    assert (measured.samples, measured.noisy) == (BLOCKS, False)


def test_all_lengths_count_equally_often_however_long_they_take() -> None:
    machine = Machine()
    lengths = [lambda: machine.call(0.1), lambda: machine.call(0.3)]
    measured = measure_energy(lengths, Target(lengths=(8, 24)), lambda: machine.joules, clock=machine.clock)
    assert measured.value == pytest.approx(50 * 0.2)


def test_a_call_longer_than_a_block_is_a_block_of_its_own() -> None:
    machine = Machine()
    measured = measure_energy(lambda: machine.call(3.0), Target(), lambda: machine.joules, clock=machine.clock)
    assert measured.value == pytest.approx(150)


def test_with_busy_neighbours_it_is_tried_three_times_and_then_noisy() -> None:
    machine = Machine(others=1.0)
    measured = measure_energy(lambda: machine.call(0.1), Target(), lambda: machine.joules, clock=machine.clock)
    assert measured.noisy
    assert machine.pauses == 2
