"""How much energy an answer takes, where the machine counts it: NVML for a GPU, RAPL for processors, never a guess."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.attempts import attempts, least_disturbed
from autoopt.objectives.timing.clock import Clock
from autoopt.objectives.timing.model_call import model_calls, placed
from autoopt.objectives.timing.nvml import PACKAGE, Gpu
from autoopt.objectives.timing.pairing import Work, calls_of
from autoopt.objectives.timing.percentiles import median_interval
from autoopt.strategies.errors import EnvironmentProblem

ENERGY = "energy"
BLOCKS = 12
BLOCK_S = 0.5
"""The counters move in steps: RAPL's about every millisecond, NVML's up to every tenth of a second."""
POWERCAP = Path("/sys/class/powercap")

Meter = Callable[[], float]
"""Returns the joules that a counter has seen since some moment; never goes back."""


@dataclass
class Domain:
    """One counter of RAPL, whose numbers begin again at zero when they have become too large."""

    folder: Path
    _wraps: int = field(default=0, init=False)
    _latest: int = field(default=0, init=False)

    def joules(self) -> float:
        """Read it; to be read at least once in each of its rounds, which take a minute or more."""
        count = int((self.folder / "energy_uj").read_text(encoding="ascii"))
        if count < self._latest:
            self._wraps += 1
        self._latest = count
        return (self._wraps * self._round + count) / 1e6

    @property
    def _round(self) -> int:
        return int((self.folder / "max_energy_range_uj").read_text(encoding="ascii")) + 1


def meter_of(target: Target, *, powercap: Path = POWERCAP) -> Meter:
    """What counts the energy of the target: the whole GPU, or all processor packages of this machine.

    Raises ``EnvironmentProblem`` that says what is missing and what to do.
    """
    if target.is_cuda:
        return _nvml(target)
    domains = [Domain(folder) for folder in _packages(powercap)]
    if not domains:
        raise EnvironmentProblem(
            f"energy cannot be measured here: {powercap} has no intel-rapl package, as in most virtual machines; "
            "search on a machine that has one, or take energy out of objectives and budget"
        )
    try:
        for domain in domains:
            domain.joules()
    except PermissionError as error:
        raise EnvironmentProblem(
            f"energy cannot be measured here: {error.filename} may only be read by the administrator; "
            f"'sudo chmod a+r {powercap}/intel-rapl:*/energy_uj' allows it, or take energy out of objectives and budget"
        ) from None
    return lambda: sum(domain.joules() for domain in domains)


def measure_energy(work: Work, target: Target, meter: Meter, *, clock: Clock | None = None) -> Measurement:
    """The median over 12 blocks of half a second of the joules for one example, all of the device's, idle power too.

    Other processes' energy cannot be told from ours, so that a measurement with busy neighbours is tried up to three
    times and then noisy. The calls are made in turn, whatever their lengths.
    """
    clock = clock or Clock.of(target)

    def blocks() -> list[float]:
        for call in calls_of(work):
            call()
        return [_block(work, target, meter, clock) for _ in range(BLOCKS)]

    best = least_disturbed(attempts(blocks, lambda _: (), target, clock, cpu_bound=False))
    low, high = median_interval(best.taken)
    return Measurement(
        name=ENERGY,
        value=median(best.taken),
        unit="J",
        direction=Direction.MINIMIZE,
        low=low,
        high=high,
        samples=BLOCKS,
        noisy=best.noisy,
    )


def energy_of(model: Any, target: Target) -> Measurement:
    """Measure a torch model; raises ``EnvironmentProblem`` if nothing counts energy here."""
    meter = meter_of(target)
    with placed(target, model):
        return measure_energy(model_calls(model, target), target, meter)


def _block(work: Work, target: Target, meter: Meter, clock: Clock) -> float:
    """Joules for each example, over whole rounds of the calls."""
    calls, made = calls_of(work), 0
    clock.synchronize()
    joules, begun = meter(), clock.wall()
    while made == 0 or clock.wall() - begun < BLOCK_S:
        for call in calls:
            call()
        clock.synchronize()
        made += len(calls)
    return (meter() - joules) / (made * target.batch_size)


def _packages(powercap: Path) -> Iterable[Path]:
    """The packages alone: what lies below them is a part of them, and ``psys`` holds them all."""
    for folder in sorted(powercap.glob("intel-rapl:*")):
        name = folder / "name"
        if name.is_file() and name.read_text(encoding="ascii").startswith("package"):
            yield folder


def _nvml(target: Target) -> Meter:
    gpu = Gpu.of(target)
    if gpu is None:
        raise EnvironmentProblem(
            f"energy cannot be measured here: NVML does not answer for {target.device}; 'pip install {PACKAGE}' "
            "where the module pynvml is missing, or take energy out of objectives and budget"
        )
    if gpu.joules() is None:
        raise EnvironmentProblem(
            f"energy cannot be measured here: the GPU of {target.device} does not count it (it does from Volta on); "
            "take energy out of objectives and budget"
        )
    return lambda: gpu.joules() or 0.0
