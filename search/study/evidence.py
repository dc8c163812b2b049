"""How reliable a model's quality is: its difference to the baseline, the gap between splits, its spread over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from math import hypot
from statistics import fmean, stdev
from typing import Any

from autoopt.objectives.measurement import QUALITY, Direction, Measurement
from autoopt.objectives.scoring.bootstrap import Difference

TEST_PREFIX = "test_"
"""Prefix of the names of scores on the test split."""
TEST_QUALITY = f"{TEST_PREFIX}{QUALITY}"


class EvidenceKind(StrEnum):
    """What a measurement says about a score, written as the end of its name."""

    DIFFERENCE = "difference"
    P_VALUE = "p_value"
    SEED_MEAN = "mean_of_seeds"
    SEED_DEVIATION = "deviation_of_seeds"

    def name_for(self, score: str) -> str:
        """Return the name of the measurement for this score."""
        return f"{score}_{self}"

    @classmethod
    def of_name(cls, name: str) -> EvidenceKind | None:
        """Return the kind of the measurement of this name; None for a score or a cost."""
        return next((kind for kind in cls if name.endswith(f"_{kind}")), None)


@dataclass(frozen=True)
class Gap:
    """Difference between a model's quality on validation and on test, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def is_explained(self) -> bool:
        """Whether the sampling error of the two splits is enough to explain it."""
        return self.low <= 0 <= self.high

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "is_explained": self.is_explained}


def gap(validation: Measurement, test: Measurement) -> Gap:
    """Compare a score on validation with the same score on test.

    The splits are disjoint, so the errors are independent and the half-widths add up in quadrature, each on its own
    side (Zou and Donner 2008, "MOVER"). The gap can be explained even if each score lies outside the other's interval.
    """
    on_validation, on_test = _maximized(validation), _maximized(test)
    value = on_validation[0] - on_test[0]
    down = hypot(on_validation[0] - on_validation[1], on_test[2] - on_test[0])
    up = hypot(on_validation[2] - on_validation[0], on_test[0] - on_test[1])
    return Gap(value, value - down, value + up)


def _maximized(measured: Measurement) -> tuple[float, float, float]:
    """Return value, low and high, negated where less is better."""
    # If all examples score alike, a bootstrap has no spread; the rule of three still leaves a share of 3 / n unseen
    # (Hanley and Lippman-Hand 1983).
    unseen = 3 / measured.samples if measured.low == measured.high else 0.0
    low, high = measured.low - unseen, measured.high + unseen
    return (measured.value, low, high) if measured.direction is Direction.MAXIMIZE else (-measured.value, -high, -low)


@dataclass(frozen=True)
class Spread:
    """The same score of one recipe under several seeds."""

    values: tuple[float, ...]
    """In the order of the seeds."""

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def deviation(self) -> float:
        """Standard deviation of the sample; 0 for a single value."""
        return stdev(self.values) if len(self.values) > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        return {"values": list(self.values), "mean": self.mean, "deviation": self.deviation}


@dataclass(frozen=True)
class Seeds:
    """One recipe trained with several seeds on the same data; the first is that of the verified model itself."""

    seeds: tuple[int, ...]
    """The seeds whose training completed."""
    quality: Spread
    """On validation, where the first seed's model was selected."""
    test_quality: Spread
    failed: Mapping[int, str] = field(default_factory=dict)
    """Why a training failed, by seed."""

    def to_json(self) -> dict[str, Any]:
        return {
            "seeds": list(self.seeds),
            QUALITY: self.quality.to_json(),
            TEST_QUALITY: self.test_quality.to_json(),
            "failed": {str(seed): reason for seed, reason in self.failed.items()},
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Seeds:
        quality, test_quality = (Spread(tuple(fields[name]["values"])) for name in (QUALITY, TEST_QUALITY))
        failed = {int(seed): reason for seed, reason in fields["failed"].items()}
        return cls(tuple(fields["seeds"]), quality, test_quality, failed)

    def measurements(self) -> Iterator[Measurement]:
        """Yield the mean and standard deviation as measurements of their own, for reports and tracking."""
        for name, spread in ((QUALITY, self.quality), (TEST_QUALITY, self.test_quality)):
            mean = Measurement.exact(EvidenceKind.SEED_MEAN.name_for(name), spread.mean, "", Direction.MAXIMIZE)
            deviation = Measurement.exact(
                EvidenceKind.SEED_DEVIATION.name_for(name), spread.deviation, "", Direction.MINIMIZE
            )
            yield from (replace(item, samples=len(self.seeds)) for item in (mean, deviation))


def difference_measurements(difference: Difference, *, samples: int) -> Iterator[Measurement]:
    """Yield the difference to the baseline and its p-value as measurements of their own."""
    yield Measurement(
        name=EvidenceKind.DIFFERENCE.name_for(TEST_QUALITY),
        value=difference.value,
        unit="",
        direction=Direction.MAXIMIZE,
        low=difference.low,
        high=difference.high,
        samples=samples,
    )
    p_value = Measurement.exact(EvidenceKind.P_VALUE.name_for(TEST_QUALITY), difference.p_value, "", Direction.MINIMIZE)
    yield replace(p_value, samples=samples)
