"""Measure saved models anew and in turn with a reference, as verification does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from autoopt.objectives.costs import measure_costs, pairs_for
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.target import Calls, Target
from autoopt.objectives.timing.latency import Calibration, Comparison
from autoopt.objectives.timing.model_call import calibrate_model, compare_models, model_of
from autoopt.objectives.timing.pairing import Pairs

Targets = Mapping[Calls, Target]
"""Device and input shapes for each kind of calls."""


def _no_limit() -> float:
    return math.inf


@dataclass(frozen=True)
class Bench:
    """A reference model for measuring others, with enough samples for a 95th percentile or more."""

    reference: Any
    """A candidate, or its model where no text is answered."""
    targets: Targets
    requested: Set[str] = frozenset()
    """Costs to measure in addition to those that always are."""
    timing_s: Callable[[], float] = _no_limit
    """Returns the seconds for which the calls of a model may be timed, at most."""

    def pairs_for(self, calls: Calls) -> Pairs:
        """Return the number of paired calls of a kind."""
        pairs = pairs_for(self.requested, calls)
        return replace(pairs, seconds=min(pairs.seconds, self.timing_s()))

    def measure(self, served: Any, folder: Path, *, own_targets: Targets | None = None) -> dict[str, Measurement]:
        """Measure a candidate, or a model, that is saved in ``folder``; the reference itself has the ratio 1.

        ``own_targets`` has other lengths if the model's tokenizer is another one.
        """
        return measure_costs(FreshServing(self, served, folder, own_targets or self.targets), self.requested)

    @cached_property
    def calibration_of(self) -> Callable[[Calls], Calibration]:
        return lru_cache(None)(self._calibrate)

    def _calibrate(self, calls: Calls) -> Calibration:
        if calls is not Calls.BATCH and self.targets[calls] == self.targets[Calls.BATCH]:
            return self.calibration_of(Calls.BATCH)
        pairs = self.pairs_for(calls)
        return calibrate_model(self.reference, self.targets[calls], samples=pairs.minimum, seconds=pairs.seconds)


@dataclass(frozen=True)
class FreshServing:
    """One model on the bench; nothing is taken from a table."""

    bench: Bench
    served: Any
    folder: Path
    targets: Targets
    thorough: bool = True

    @property
    def model(self) -> Any:
        return model_of(self.served)

    @property
    def target(self) -> Target:
        return self.targets[Calls.BATCH]

    def target_for(self, calls: Calls) -> Target:
        return self.bench.targets[calls]

    @property
    def calibration(self) -> Calibration:
        return self.bench.calibration_of(Calls.BATCH)

    @cached_property
    def comparison(self) -> Comparison:
        return self._compare(Calls.BATCH)

    def timed(self, calls: Calls) -> tuple[Comparison, Calibration]:
        if self.bench.targets[calls] == self.bench.targets[Calls.BATCH]:
            return self.comparison, self.calibration
        return self._compare(calls), self.bench.calibration_of(calls)

    def once(self, metric: str, measure: Callable[[], Measurement]) -> Measurement:  # noqa: ARG002
        return measure()

    def _compare(self, calls: Calls) -> Comparison:
        calibration = self.bench.calibration_of(calls)
        if self.served is self.bench.reference:
            return Comparison.identity(calibration)
        pairs = self.bench.pairs_for(calls)
        target, own_target = self.bench.targets[calls], self.targets[calls]
        return compare_models(self.served, self.bench.reference, target, pairs=pairs, candidate_target=own_target)
