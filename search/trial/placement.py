"""Where the stages of a trial run: what trains, records or scores on the training device, the rest on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from autoopt.search.space.recipe import Recipe
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.strategy import Family, Strategy
from autoopt.strategies.system import devices, measurement_gate
from autoopt.strategies.system.devices import CPU, Device


@dataclass(frozen=True)
class Placement:
    """The training device of one trial, and the models that the trial must not move."""

    device: Device
    shared: Collection[int]
    """Identities of models that other trials of this process use; they stay on the CPU and a copy is moved."""

    @classmethod
    def of(cls, *shared: Any, effort: float) -> Placement:
        """Return the placement on this thread's training device; on the CPU if nothing is trained."""
        return cls(devices.training_device() if effort > 0 else CPU, {id(model) for model in shared})

    def for_step(self, candidate: Candidate, step: Strategy) -> Candidate:
        """Return the candidate with its model, and its teacher if the step needs one, where the step runs."""
        if step.family is Family.AUGMENTATION:
            return candidate
        device = self.device_of(step)
        teacher = candidate.teacher
        if teacher is not None and "teacher" in step.needs:
            teacher = self._placed(teacher, device)
        return replace(candidate, model=self._placed(candidate.model, device), teacher=teacher)

    def for_scoring(self, candidate: Candidate, recipe: Recipe) -> Candidate:
        """Return the finished candidate on the device that scores it: the CPU if it is accelerated or no network."""
        return replace(candidate, model=self._placed(candidate.model, self.scoring_device(recipe)))

    def device_of(self, step: Strategy) -> Device:
        """Return where a step runs. Accelerated models have kernels for the CPU, and augmentation changes texts."""
        return CPU if step.family in (Family.ACCELERATION, Family.AUGMENTATION) else self.device

    def scoring_device(self, recipe: Recipe) -> Device:
        on_cpu = any(step.family is Family.ACCELERATION or step.replaces for step in recipe.steps)
        return CPU if on_cpu else self.device

    def _placed(self, model: Any, device: Device) -> Any:
        if self.device is CPU:
            return model
        if id(model) in self.shared and device is not CPU:
            model = copy.deepcopy(model)
        with measurement_gate.compute_step():  # A copy would disturb a measurement on that GPU.
            return device.place(model)
