"""How far a model's quality can be believed: its difference to the baseline, its two splits, its spread over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import hypot
from statistics import fmean, stdev
from typing import Any

from autoopt.objectives.measurement import QUALITY, Direction, Measurement
from autoopt.objectives.scoring.bootstrap import Difference

TEST_PREFIX = "test_"
"""Before the name of a score on the test split."""
TEST_QUALITY = f"{TEST_PREFIX}{QUALITY}"


@dataclass(frozen=True)
class Gap:
    """How much better a model is on validation than on test, with its 95 % interval; below 0 where it is worse."""

    value: float
    low: float
    high: float

    @property
    def is_explained(self) -> bool:
        """True where chance in drawing the two splits is enough to explain it."""
        return self.low <= 0 <= self.high

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "is_explained": self.is_explained}


def gap(validation: Measurement, test: Measurement) -> Gap:
    """Compare a score on validation with the same score on test.

    The splits have no example in common, so the two scores err independently and their half-widths add up as squares,
    each on the side where it matters (Zou and Donner 2008, "MOVER"). Either score may so lie outside the other's
    interval and the gap still be explained.
    """
    ours, theirs = _upwards(validation), _upwards(test)
    value = ours[0] - theirs[0]
    down = hypot(ours[0] - ours[1], theirs[2] - theirs[0])
    up = hypot(ours[2] - ours[0], theirs[0] - theirs[1])
    return Gap(value, value - down, value + up)


def _upwards(measured: Measurement) -> tuple[float, float, float]:
    """Value, low and high, turned so that more is better."""
    # Where all examples came out alike a bootstrap sees no spread; so many can still hide a share of 3 / n
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
        """The standard deviation of the sample; 0 of a single value."""
        return stdev(self.values) if len(self.values) > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        return {"values": list(self.values), "mean": self.mean, "deviation": self.deviation}


@dataclass(frozen=True)
class Seeds:
    """One recipe trained with several seeds on the same data; the first is that of the verified model itself."""

    seeds: tuple[int, ...]
    """Those that came to an end."""
    quality: Spread
    """On validation, which the first seed's model was chosen by."""
    test_quality: Spread
    failed: Mapping[int, str] = field(default_factory=dict)
    """By seed, why its training failed."""

    def to_json(self) -> dict[str, Any]:
        return {
            "seeds": list(self.seeds),
            "quality": self.quality.to_json(),
            "test_quality": self.test_quality.to_json(),
            "failed": {str(seed): reason for seed, reason in self.failed.items()},
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Seeds:
        quality, test_quality = (Spread(tuple(fields[name]["values"])) for name in ("quality", "test_quality"))
        failed = {int(seed): reason for seed, reason in fields["failed"].items()}
        return cls(tuple(fields["seeds"]), quality, test_quality, failed)

    def measurements(self) -> Iterator[Measurement]:
        """Mean and standard deviation under names of their own, for who shows or tracks measurements."""
        for name, spread in ((QUALITY, self.quality), (TEST_QUALITY, self.test_quality)):
            mean = Measurement.exact(f"{name}_mean_of_seeds", spread.mean, "", Direction.MAXIMIZE)
            deviation = Measurement.exact(f"{name}_deviation_of_seeds", spread.deviation, "", Direction.MINIMIZE)
            yield from (replace(item, samples=len(self.seeds)) for item in (mean, deviation))


def difference_measurements(difference: Difference, *, samples: int) -> Iterator[Measurement]:
    """The difference to the baseline and its p-value under names of their own, as ``Seeds.measurements`` does."""
    yield Measurement(
        name=f"{TEST_QUALITY}_difference",
        value=difference.value,
        unit="",
        direction=Direction.MAXIMIZE,
        low=difference.low,
        high=difference.high,
        samples=samples,
    )
    p_value = Measurement.exact(f"{TEST_QUALITY}_p_value", difference.p_value, "", Direction.MINIMIZE)
    yield replace(p_value, samples=samples)
