"""Measure saved models anew and in turn with a reference, as verification does."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autoopt.objectives.costs import measure_costs, pairs_for
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.latency import Calibration, Comparison
from autoopt.objectives.timing.model_call import calibrate_model, compare_models
from autoopt.objectives.timing.pairing import THOROUGH, Pairs


@dataclass(frozen=True)
class Bench:
    """A reference model for measuring others, with enough samples for a 95th percentile or more."""

    reference: Any
    target: Target
    single_target: Target
    """The target with one example a call."""
    requested: Set[str] = frozenset()
    """Costs to measure in addition to those that always are."""

    def measure(
        self, model: Any, folder: Path, *, own_target: Target | None = None, own_single_target: Target | None = None
    ) -> dict[str, Measurement]:
        """Measure a model that is saved in ``folder``; the reference itself has the ratio 1.

        ``own_target`` and ``own_single_target`` replace the lengths if the model's tokenizer is another one.
        """
        own = own_target or self.target, own_single_target or self.single_target
        return measure_costs(FreshServing(self, model, folder, *own), self.requested)

    @cached_property
    def calibration(self) -> Calibration:
        return calibrate_model(self.reference, self.target, samples=pairs_for(self.requested).minimum)

    @cached_property
    def single_calibration(self) -> Calibration:
        if self.single_target == self.target:
            return self.calibration
        return calibrate_model(self.reference, self.single_target, samples=THOROUGH.minimum)


@dataclass(frozen=True)
class FreshServing:
    """One model on the bench; nothing is taken from a table."""

    bench: Bench
    model: Any
    folder: Path
    target: Target
    single_target: Target
    thorough: bool = True

    @property
    def calibration(self) -> Calibration:
        return self.bench.calibration

    @cached_property
    def comparison(self) -> Comparison:
        return self._compare(self.bench.target, self.target, self.calibration, pairs_for(self.bench.requested))

    def single(self) -> tuple[Comparison, Calibration]:
        if self.bench.single_target == self.target:
            return self.comparison, self.calibration
        calibration = self.bench.single_calibration
        return self._compare(self.bench.single_target, self.single_target, calibration, THOROUGH), calibration

    def once(self, metric: str, measure: Callable[[], Measurement]) -> Measurement:  # noqa: ARG002
        return measure()

    def _compare(self, target: Target, own_target: Target, calibration: Calibration, pairs: Pairs) -> Comparison:
        if self.model is self.bench.reference:
            return Comparison.identity(calibration)
        return compare_models(self.model, self.bench.reference, target, pairs=pairs, candidate_target=own_target)
