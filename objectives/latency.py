"""How long a call takes: as a ratio to a reference measured in turn with it, and by calibration in milliseconds.

A shared machine changes its speed from minute to minute, a ratio of two calls in turn does not. So a candidate's
latency is the median of paired ratios times what the reference took once, in quiet. All is timed under
``quiet.measuring``: one measurement at a time on this machine, with training paused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, TypeAlias, TypeVar

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.percentiles import median_interval, p95, p99
from autoopt.objectives.target import Target
from autoopt.objectives.timing import Call, Clock, Sample, conditions, take
from autoopt.strategies import quiet

WARM_UP_CALLS = 5
SHORTEST_SAMPLE_S = 0.002
"""A shorter call is repeated within a sample until it takes this long."""
LEAD_BELOW_S = 0.02
"""A shorter call is made once untimed before each sample: the other model has just emptied the caches."""
HALF_WIDTH = 0.05
"""A comparison goes on until its interval is this narrow to each side, relative to the ratio."""
UNDISTURBED = 0.9
"""A single thread that gets less than this share of a processor is not alone on it."""
ATTEMPTS = 3


@dataclass(frozen=True)
class Calibration:
    """What the reference takes on this machine, call by call."""

    p50_ms: float
    p95_ms: float | None
    """None where there are fewer than 130 samples."""
    p99_ms: float | None
    """None where there are fewer than 662 samples."""
    samples: int
    cpu_over_wall: float
    noisy: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Calibration:
        return cls(**fields)


@dataclass(frozen=True)
class Comparison:
    """A candidate against the reference: the median of the paired ratios with its 95 % interval. Below 1 is faster."""

    ratio: float
    low: float
    high: float
    samples: int
    """Pairs."""
    candidate_p50_ms: float
    candidate_p95_ms: float | None
    """None where there are fewer than 130 pairs, or where a sample is the mean of several calls."""
    reference_p50_ms: float
    reference_p95_ms: float | None
    cpu_over_wall: float
    """Median over the reference's samples; near 1 where a single thread had a processor for itself."""
    noisy: bool
    """True where the machine was disturbed at each attempt."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Comparison:
        return cls(**fields)

    @classmethod
    def identity(cls, calibration: Calibration) -> Comparison:
        """The reference, or anything of its shape, against the reference: 1 by definition."""
        return cls(
            ratio=1.0,
            low=1.0,
            high=1.0,
            samples=calibration.samples,
            candidate_p50_ms=calibration.p50_ms,
            candidate_p95_ms=calibration.p95_ms,
            reference_p50_ms=calibration.p50_ms,
            reference_p95_ms=calibration.p95_ms,
            cpu_over_wall=calibration.cpu_over_wall,
            noisy=calibration.noisy,
        )


@dataclass(frozen=True)
class Pairs:
    """How many pairs a comparison takes. Even numbers: each model goes first equally often."""

    minimum: int
    maximum: int


SCREENING = Pairs(16, 52)
THOROUGH = Pairs(150, 300)
"""Enough for a 95th percentile."""


def calibrate(
    reference: Call, target: Target, *, samples: int = 150, cpu_bound: bool = True, clock: Clock | None = None
) -> Calibration:
    """Time the reference alone. ``cpu_bound=False`` where it waits for something other than the processor."""
    clock = clock or Clock.of(target)

    def attempt() -> Calibration:
        for _ in range(WARM_UP_CALLS):
            reference()
        taken = [take(reference, clock) for _ in range(samples)]
        walls = [1000 * sample.wall_s for sample in taken]
        share = _processor_share(taken)
        noisy = _is_disturbed(share, target, cpu_bound=cpu_bound)
        return Calibration(median(walls), p95(walls), p99(walls), samples, share, noisy)

    return _until_undisturbed(attempt, target)


def compare(
    candidate: Call,
    reference: Call,
    target: Target,
    *,
    limit_ratio: float | None = None,
    thorough: bool = False,
    cpu_bound: bool = True,
    clock: Clock | None = None,
) -> Comparison:
    """Time both in turn until the ratio is known to 5 % and its interval is clear of ``limit_ratio``; at most 52 pairs.

    ``thorough`` takes at least 150 pairs, enough for a 95th percentile. ``cpu_bound=False`` says that the reference
    waits for something other than the processor, so that its share of it says nothing of the machine.
    """
    clock = clock or Clock.of(target)
    pairs = THOROUGH if thorough else SCREENING

    def attempt() -> Comparison:
        sides = (_prepare(candidate, clock), _prepare(reference, clock))
        taken: list[tuple[Sample, Sample]] = []
        while not _is_enough(taken, pairs, limit_ratio):
            taken.append(_pair(sides, clock, reference_first=len(taken) % 2 == 1))
        return _comparison(taken, sides, target, cpu_bound=cpu_bound)

    return _until_undisturbed(attempt, target)


def measurements(comparison: Comparison, calibration: Calibration) -> dict[str, Measurement]:
    """Return ``latency_p50`` in ms, ``latency_p95`` where the calibration has it, and ``latency_ratio``."""

    def scaled(name: str, unit: str, scale: float, noisy: bool) -> Measurement:
        return Measurement(
            name=name,
            value=comparison.ratio * scale,
            unit=unit,
            direction=Direction.MINIMIZE,
            low=comparison.low * scale,
            high=comparison.high * scale,
            samples=comparison.samples,
            noisy=noisy,
        )

    noisy = comparison.noisy or calibration.noisy
    found = [scaled("latency_p50", "ms", calibration.p50_ms, noisy)]
    if calibration.p95_ms is not None:
        found.append(scaled("latency_p95", "ms", calibration.p95_ms, noisy))
    found.append(scaled("latency_ratio", "of baseline", 1.0, comparison.noisy))
    return {measured.name: measured for measured in found}


@dataclass(frozen=True)
class _Side:
    """One of two calls in turn."""

    call: Call
    repeats: int
    has_lead: bool


_Sides: TypeAlias = tuple[_Side, _Side]
_Outcome = TypeVar("_Outcome", Calibration, Comparison)


def _until_undisturbed(attempt: Callable[[], _Outcome], target: Target) -> _Outcome:
    """Try up to three times; the least disturbed attempt where none was in quiet."""
    tried = []
    for _ in range(ATTEMPTS):
        with quiet.measuring(), conditions(target):
            outcome = attempt()
        if not outcome.noisy:
            return outcome
        tried.append(outcome)
    return max(tried, key=lambda outcome: outcome.cpu_over_wall)


def _prepare(call: Call, clock: Clock) -> _Side:
    warm = [take(call, clock).wall_s for _ in range(WARM_UP_CALLS)]
    typical = median(warm[1:])
    return _Side(
        call, repeats=max(1, math.ceil(SHORTEST_SAMPLE_S / max(typical, 1e-7))), has_lead=typical < LEAD_BELOW_S
    )


def _pair(sides: _Sides, clock: Clock, *, reference_first: bool) -> tuple[Sample, Sample]:
    candidate, reference = sides
    if reference_first:
        second = _turn(reference, clock)
        return _turn(candidate, clock), second
    return _turn(candidate, clock), _turn(reference, clock)


def _turn(side: _Side, clock: Clock) -> Sample:
    if side.has_lead:
        side.call()
    return take(side.call, clock, repeats=side.repeats)


def _ratios(taken: Sequence[tuple[Sample, Sample]]) -> list[float]:
    return [candidate.wall_s / reference.wall_s for candidate, reference in taken]


def _is_enough(taken: Sequence[tuple[Sample, Sample]], pairs: Pairs, limit_ratio: float | None) -> bool:
    if len(taken) < pairs.minimum or len(taken) % 2 == 1:
        return False
    if len(taken) >= pairs.maximum:
        return True
    ratios = _ratios(taken)
    low, high = median_interval(ratios)
    is_clear = limit_ratio is None or not low <= limit_ratio <= high
    return is_clear and (high - low) / 2 <= HALF_WIDTH * median(ratios)


def _comparison(
    taken: Sequence[tuple[Sample, Sample]], sides: _Sides, target: Target, *, cpu_bound: bool
) -> Comparison:
    ratios = _ratios(taken)
    low, high = median_interval(ratios)
    candidate_ms, reference_ms = ([1000 * pair[place].wall_s for pair in taken] for place in (0, 1))
    share = _processor_share([reference for _, reference in taken])
    return Comparison(
        ratio=median(ratios),
        low=low,
        high=high,
        samples=len(taken),
        candidate_p50_ms=median(candidate_ms),
        candidate_p95_ms=p95(candidate_ms) if sides[0].repeats == 1 else None,
        reference_p50_ms=median(reference_ms),
        reference_p95_ms=p95(reference_ms) if sides[1].repeats == 1 else None,
        cpu_over_wall=share,
        noisy=_is_disturbed(share, target, cpu_bound=cpu_bound),
    )


def _processor_share(samples: Sequence[Sample]) -> float:
    return median(sample.cpu_s / sample.wall_s for sample in samples)


def _is_disturbed(share: float, target: Target, *, cpu_bound: bool) -> bool:
    """Only where it can be told: several threads spin while they wait, and a GPU's work is not the processor's."""
    return cpu_bound and target.threads == 1 and not target.is_cuda and share < UNDISTURBED
