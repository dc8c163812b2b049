"""Everything that it costs to serve a saved model, measured afresh and in turn with a reference."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from autoopt.objectives.costs.energy import ENERGY, measure_energy, meter_of
from autoopt.objectives.costs.memory import MEMORY, measure_memory
from autoopt.objectives.costs.size import PARAMETERS, measure_size, parameters
from autoopt.objectives.costs.throughput import THROUGHPUT, throughput
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.latency import Calibration, Comparison, measurements
from autoopt.objectives.timing.model_call import calibrate_model, compare_models, model_calls, placed
from autoopt.objectives.timing.pairing import FOR_P99, THOROUGH, Pairs

P99 = "latency_p99"
SINGLE = "latency_single"
MEMORY_RUNS = 3
"""The peak of large batches differs by some percent from run to run, as the allocator has it."""


@dataclass(frozen=True)
class Bench:
    """A reference model that others are measured against, each as thoroughly as a 95th percentile needs.

    Latency, size and the number of parameters are always measured; of the rest, what is ``wanted``.
    """

    reference: Any
    target: Target
    single: Target
    """The same for one example at a time."""
    wanted: Set[str] = frozenset()

    @cached_property
    def calibration(self) -> Calibration:
        """What the reference takes."""
        return calibrate_model(self.reference, self.target, samples=samples_for(self.wanted))

    def measure(self, model: Any, folder: Path) -> dict[str, Measurement]:
        """Measure a model that is saved in ``folder``; the reference itself has the ratio 1."""
        pairs = FOR_P99 if P99 in self.wanted else THOROUGH
        comparison = self._compare(model, self.target, self.calibration, pairs)
        found = measurements(comparison, self.calibration)
        if THROUGHPUT in self.wanted:
            found[THROUGHPUT] = throughput(comparison, self.calibration, self.target)
        if SINGLE in self.wanted:
            found[SINGLE] = self._single(model, found)
        if ENERGY in self.wanted:
            found[ENERGY] = energy_of(model, self.target)
        if MEMORY in self.wanted:
            found[MEMORY] = measure_memory(folder, self.target, runs=MEMORY_RUNS)
        return {**found, **sizes(model, folder)}

    def _single(self, model: Any, found: dict[str, Measurement]) -> Measurement:
        if self.single == self.target:
            return single(found)
        calibration = self._single_calibration
        return single(measurements(self._compare(model, self.single, calibration, THOROUGH), calibration))

    @cached_property
    def _single_calibration(self) -> Calibration:
        return calibrate_model(self.reference, self.single)

    def _compare(self, model: Any, target: Target, calibration: Calibration, pairs: Pairs) -> Comparison:
        if model is self.reference:
            return Comparison.identity(calibration)
        return compare_models(model, self.reference, target, pairs=pairs)


def samples_for(wanted: Set[str]) -> int:
    """How many calls of the reference a calibration needs."""
    return FOR_P99.minimum if P99 in wanted else THOROUGH.minimum


def single(found: dict[str, Measurement]) -> Measurement:
    """The median of latencies that were measured with one example at a time, under its own name."""
    return replace(found["latency_p50"], name=SINGLE)


def energy_of(model: Any, target: Target) -> Measurement:
    """``measure_energy`` for a torch model; raises ``EnvironmentProblem`` where nothing counts energy."""
    meter = meter_of(target)
    with placed(target, model):
        return measure_energy(model_calls(model, target), target, meter)


def sizes(model: Any, folder: Path) -> dict[str, Measurement]:
    """Bytes of a saved model and the number of its parameters."""
    count = Measurement.exact(PARAMETERS, parameters(model), "", Direction.MINIMIZE)
    return {"size": measure_size(folder), PARAMETERS: count}
