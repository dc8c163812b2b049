"""What a cost of serving is: one file in ``objectives/costs`` for each, nothing to register."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.latency import Calibration, Comparison
from autoopt.objectives.timing.pairing import THOROUGH, Pairs
from autoopt.objectives.units import Dimension


class Role(StrEnum):
    """What a cost says about a model: its column in the table of a front, and the alias that it decides."""

    SPEED = "speed"
    """Decides ``fastest``."""
    SPACE = "space"
    """Decides ``smallest``."""
    OTHER = "other"
    """Decides no alias; shown beside speed."""


class Serving(Protocol):
    """A model that is saved and being measured, in a trial or in verification."""

    @property
    def model(self) -> Any:
        """The model, in evaluation mode or not, on any device."""

    @property
    def folder(self) -> Path:
        """Where the candidate is saved."""

    @property
    def target(self) -> Target:
        """Where the model will serve."""

    @property
    def thorough(self) -> bool:
        """Whether this is verification, which takes more samples than screening."""

    @property
    def calibration(self) -> Calibration:
        """Time of the reference model on the target."""

    @property
    def comparison(self) -> Comparison:
        """The model timed in turn with the reference."""

    def single(self) -> tuple[Comparison, Calibration]:
        """Return comparison and calibration for one example a call."""

    def once(self, metric: str, measure: Callable[[], Measurement]) -> Measurement:
        """Return the result of ``measure``, or what was measured before of a model of this shape."""


class Cost(ABC):
    """One thing that serving costs. The file's name is the objective's name."""

    dimension: ClassVar[Dimension]
    """Kind of quantity, which says the units in which a limit is written."""
    role: ClassVar[Role]
    direction: ClassVar[Direction] = Direction.MINIMIZE
    other_names: ClassVar[tuple[str, ...]] = ()
    """Names that an experiment may use in place of this one."""
    always: ClassVar[bool] = False
    """Whether it is measured even if no objective and no limit asks for it."""
    default_of_role: ClassVar[bool] = False
    """Whether it decides its role's alias if no objective of that role is searched."""
    exact: ClassVar[bool] = False
    """Whether it is counted rather than timed, and so counted once more on the trained model."""
    label: ClassVar[str | None] = None
    """Text before the value in the table of a front, may be empty; None to leave it out there."""
    pairs: ClassVar[Pairs] = THOROUGH
    """Pairs of calls that verification needs for it."""

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def check(self, target: Target) -> None:  # noqa: B027 - most costs can be measured anywhere
        """Raise ``EnvironmentProblem`` if this machine cannot measure it."""

    @abstractmethod
    def measure(self, serving: Serving) -> Sequence[Measurement]:
        """Return the measurement named like this cost, and any that comes with it; empty if too few samples."""

    def limit_ratio(self, limit: float, reference: float) -> float | None:  # noqa: ARG002
        """Return the time of a call at which ``limit`` is reached, as a share of the reference's; None if unrelated."""
        return None
