"""Base class of the costs of serving, of which ``objectives/costs`` has one file each, and what they measure on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol

from autoopt.objectives import units
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Calls, Target
from autoopt.objectives.timing.latency import Calibration, Comparison, latency
from autoopt.objectives.timing.pairing import VERIFYING, Pairs


class Role(StrEnum):
    """Property of a model that a cost measures: decides its column in the table of a front, and its alias."""

    SPEED = "speed"
    """Decides the alias ``fastest``."""
    SPACE = "space"
    """Decides the alias ``smallest``."""
    OTHER = "other"
    """Decides no alias; shown in the column of speed."""


class Serving(Protocol):
    """A saved model being measured, in a trial or in verification."""

    @property
    def model(self) -> Any:
        """The model, in any mode and on any device."""

    @property
    def folder(self) -> Path:
        """Folder of the saved candidate."""

    @property
    def target(self) -> Target:
        """Device and input shapes."""

    @property
    def thorough(self) -> bool:
        """Whether this is verification, which takes more samples than screening."""

    @property
    def calibration(self) -> Calibration:
        """Time of the reference model on the target."""

    @property
    def comparison(self) -> Comparison:
        """The model timed in turn with the reference."""

    def timed(self, calls: Calls) -> tuple[Comparison, Calibration]:
        """Return comparison and calibration for calls of another kind."""

    def target_for(self, calls: Calls) -> Target:
        """Return device and input shapes of the reference's calls of this kind."""

    def once(self, metric: str, measure: Callable[[], Measurement]) -> Measurement:
        """Return the stored measurement of a model of this shape, else the result of ``measure``."""


class Cost(ABC):
    """One cost of serving. The name of its file is the name of the objective."""

    dimension: ClassVar[units.Dimension]
    """Kind of quantity, with the units in which a limit is written."""
    role: ClassVar[Role]
    direction: ClassVar[Direction] = Direction.MINIMIZE
    other_names: ClassVar[tuple[str, ...]] = ()
    """Aliases in experiment files."""
    timed: ClassVar[bool] = False
    """Whether it needs calls timed in turn with the reference, the slow part of measuring."""
    calls: ClassVar[Calls] = Calls.BATCH
    """Kind of the calls that it times."""
    always: ClassVar[bool] = False
    """Whether it is measured without being asked for; a timed one only beside another timed cost, when it is free."""
    default_of_role: ClassVar[bool] = False
    """Whether it decides its role's alias if the study has no objective of that role."""
    exact: ClassVar[bool] = False
    """Whether it is counted rather than timed; counted again on the trained model."""
    label: ClassVar[str | None] = None
    """Text before the value in the table of a front, may be empty; None to omit the cost there."""
    pairs: ClassVar[Pairs] = VERIFYING
    """Number of paired calls that it needs in verification."""

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def check(self, target: Target) -> None:  # noqa: B027 - most costs can be measured anywhere
        """Raise ``EnvironmentProblem`` if this machine cannot measure it."""

    @abstractmethod
    def measure(self, serving: Serving) -> Sequence[Measurement]:
        """Return the measurement of this name and any that accompany it; empty if there are too few samples."""

    def limit_ratio(self, limit: float, reference: float) -> float | None:  # noqa: ARG002
        """Return the latency ratio at which ``limit`` is reached, given the reference's value; None if unrelated."""
        return None


class CallTime(Cost):
    """Median time of calls of one kind, in milliseconds."""

    dimension = units.LATENCY
    role = Role.SPEED
    timed = True

    def parts(self, target: Target) -> int:  # noqa: ARG002
        """Return the number of equal parts of a call, of which one is measured."""
        return 1

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        comparison, calibration = serving.timed(self.calls)
        part_ms = calibration.p50_ms / self.parts(serving.target_for(self.calls))
        return (latency(self.name, part_ms, comparison, calibration, samples=comparison.samples),)
