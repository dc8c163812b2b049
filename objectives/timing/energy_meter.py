"""Energy of an example, counted by NVML on a GPU and by RAPL on processors, never estimated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.attempts import least_disturbed, measure_until_quiet
from autoopt.objectives.timing.clock import Clock
from autoopt.objectives.timing.model_call import model_calls, placed
from autoopt.objectives.timing.pairing import Work, as_calls
from autoopt.objectives.timing.percentiles import median_interval
from autoopt.strategies.errors import EnvironmentProblem
from autoopt.strategies.system.nvml import PACKAGE, Gpu

ENERGY = "energy"
BLOCKS = 12
BLOCK_S = 0.5
"""Long against the steps of the counters: about 1 ms for RAPL, up to 100 ms for NVML."""
POWERCAP = Path("/sys/class/powercap")

Meter = Callable[[], float]
"""Returns the joules counted since a fixed moment; never decreases."""


@dataclass
class RaplDomain:
    """One RAPL counter, which wraps around to zero."""

    folder: Path
    _wraps: int = field(default=0, init=False)
    _latest: int = field(default=0, init=False)

    def joules(self) -> float:
        """Return the energy counted so far. Must be called at least once per wrap-around, of a minute or more."""
        count = int((self.folder / "energy_uj").read_text(encoding="ascii"))
        if count < self._latest:
            self._wraps += 1
        self._latest = count
        return (self._wraps * self._range + count) / 1e6

    @property
    def _range(self) -> int:
        return int((self.folder / "max_energy_range_uj").read_text(encoding="ascii")) + 1


def open_meter(target: Target, *, powercap: Path = POWERCAP) -> Meter:
    """Return the meter of the target's energy: the whole GPU, or all processor packages of this machine.

    Raises ``EnvironmentProblem`` if there is none, with what is missing and what to do.
    """
    if target.is_cuda:
        return _gpu_meter(target)
    domains = [RaplDomain(folder) for folder in _packages(powercap)]
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
            f"energy cannot be measured here: {error.filename} is readable by the administrator only; "
            f"'sudo chmod a+r {powercap}/intel-rapl:*/energy_uj' allows reading it; "
            "or take energy out of objectives and budget"
        ) from None
    return lambda: sum(domain.joules() for domain in domains)


def measure_energy(work: Work, target: Target, meter: Meter, *, clock: Clock | None = None) -> Measurement:
    """Return the joules per example, idle power included: the median over 12 blocks of half a second.

    The energy of other processes cannot be separated, so with busy neighbours the measurement is repeated up to three
    times and then noisy. Each length is called equally often.
    """
    clock = clock or Clock.of(target)

    def measure_blocks() -> list[float]:
        for call in as_calls(work):
            call()
        return [_measure_block(work, target, meter, clock) for _ in range(BLOCKS)]

    best = least_disturbed(measure_until_quiet(measure_blocks, lambda _: (), target, clock, cpu_bound=False))
    low, high = median_interval(best.result)
    return Measurement(
        name=ENERGY,
        value=median(best.result),
        unit="J",
        direction=Direction.MINIMIZE,
        low=low,
        high=high,
        samples=BLOCKS,
        noisy=best.disturbed,
    )


def measure_model_energy(model: Any, target: Target) -> Measurement:
    """Measure a torch model. Raises ``EnvironmentProblem`` if nothing counts energy here."""
    meter = open_meter(target)
    with placed(target, model):
        return measure_energy(model_calls(model, target), target, meter)


def _measure_block(work: Work, target: Target, meter: Meter, clock: Clock) -> float:
    """Return the joules per example, over whole rounds of the calls."""
    calls, call_count = as_calls(work), 0
    clock.synchronize()
    joules_before, started_at = meter(), clock.wall()
    while call_count == 0 or clock.wall() - started_at < BLOCK_S:
        for call in calls:
            call()
        clock.synchronize()
        call_count += len(calls)
    return (meter() - joules_before) / (call_count * target.batch_size)


def _packages(powercap: Path) -> Iterable[Path]:
    """Yield the packages only: their subdomains are part of them, and ``psys`` contains them all."""
    for folder in sorted(powercap.glob("intel-rapl:*")):
        name_file = folder / "name"
        if name_file.is_file() and name_file.read_text(encoding="ascii").startswith("package"):
            yield folder


def _gpu_meter(target: Target) -> Meter:
    gpu = Gpu.of(target.device)
    if gpu is None:
        raise EnvironmentProblem(
            f"energy cannot be measured here: NVML does not answer for {target.device}; 'pip install {PACKAGE}' "
            "if the module pynvml is missing, or take energy out of objectives and budget"
        )
    if gpu.joules() is None:
        raise EnvironmentProblem(
            f"energy cannot be measured here: the GPU of {target.device} does not count it (GPUs since Volta do); "
            "take energy out of objectives and budget"
        )
    return lambda: gpu.joules() or 0.0
