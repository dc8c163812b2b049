"""How long a call takes: as a ratio to a reference measured in turn with it, and by calibration in milliseconds.

A shared machine changes its speed from minute to minute, a ratio of two calls in turn does not. So a candidate's
latency is the median of paired ratios times what the reference took once, in quiet. All is timed under
``measurement_gate.measuring``: one measurement at a time on this machine, with training paused.

Where texts of several lengths are served, a pair is a round: each length once by each model, in turn, and its ratio is
that of the two sums. So every length counts by the time that it takes, as it does for whoever waits or pays; the median
over the rounds keeps a stall out. Percentiles are then over the calls of all lengths: the reference's, times that
ratio, which describes a candidate whose gain depends on the length by its mean gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.attempts import attempts, is_single, least_disturbed, processor_share
from autoopt.objectives.timing.clock import Clock, Sample, take
from autoopt.objectives.timing.pairing import SCREENING, Duel, Pairs, Work, calls_of, in_turn, total_s, warmed_up
from autoopt.objectives.timing.percentiles import median_interval, p95, p99

ALIKE = 0.8
"""A candidate whose share of a processor is less than this part of the reference's does something else than compute."""


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
    mean_ms: float | None = None
    """Over the lengths, where there are several: the median over the rounds."""
    others: float | None = None
    """How many processors, or what share of the GPU, other processes used meanwhile; None where it is not known."""
    clock_mhz: float | None = None
    """The GPU's at the end."""

    @property
    def call_ms(self) -> float:
        """What a call takes in the long run."""
        return self.p50_ms if self.mean_ms is None else self.mean_ms

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
    others: float | None = None
    """How many processors, or what share of the GPU, other processes used meanwhile; None where it is not known."""

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
            others=calibration.others,
        )


def calibrate(
    reference: Work, target: Target, *, samples: int = 150, cpu_bound: bool = True, clock: Clock | None = None
) -> Calibration:
    """Time the reference alone, at least ``samples`` calls.

    ``cpu_bound=False`` where it waits for something other than the processor.
    """
    clock = clock or Clock.of(target)
    calls = calls_of(reference)

    def take_all() -> list[list[Sample]]:
        warmed_up(reference, clock)
        return [[take(call, clock) for call in calls] for _ in range(-(-samples // len(calls)))]

    def flat(rounds: list[list[Sample]]) -> list[Sample]:
        return [sample for taken in rounds for sample in taken]

    best = least_disturbed(attempts(take_all, flat, target, clock, cpu_bound=cpu_bound))
    walls = [1000 * sample.wall_s for sample in flat(best.taken)]
    return Calibration(
        p50_ms=median(walls),
        p95_ms=p95(walls),
        p99_ms=p99(walls),
        samples=len(walls),
        cpu_over_wall=best.share,
        noisy=best.noisy,
        mean_ms=median(1000 * total_s(taken) / len(calls) for taken in best.taken) if len(calls) > 1 else None,
        others=best.others,
        clock_mhz=clock.frequency_mhz(),
    )


def compare(
    candidate: Work,
    reference: Work,
    target: Target,
    *,
    limit_ratio: float | None = None,
    pairs: Pairs = SCREENING,
    cpu_bound: bool = True,
    clock: Clock | None = None,
) -> Comparison:
    """Time both in turn until the ratio is known to 3 % and its interval is clear of ``limit_ratio``.

    ``pairs`` bounds how many pairs that takes: ``SCREENING`` at most 52, ``THOROUGH`` enough for a 95th percentile.
    ``cpu_bound=False`` says that the reference waits for something other than the processor, so that its share of it
    says nothing of the machine.

    Where all three attempts were disturbed, the comparison is ``noisy`` and made of all their pairs. Its ratio is then
    that of the times on the processor, if both models do nothing but compute on a single one: it is nearer to the truth
    than that of the times by the clock.
    """
    clock = clock or Clock.of(target)

    def duel() -> Duel:
        return in_turn(candidate, reference, clock, pairs=pairs, limit_ratio=limit_ratio)

    tried = attempts(duel, lambda taken: taken.reference, target, clock, cpu_bound=cpu_bound)
    last = tried[-1]
    if not last.noisy:
        return _comparison(last.taken, last.taken.ratios, others=last.others, noisy=False)
    pooled = Duel.pooled([attempt.taken for attempt in tried])
    computes = processor_share(pooled.candidate) > ALIKE * processor_share(pooled.reference)
    by_processor = computes and cpu_bound and is_single(target)
    ratios = pooled.processor_ratios if by_processor else pooled.ratios
    return _comparison(pooled, ratios, others=least_disturbed(tried).others, noisy=True)


def latency(
    name: str, reference_ms: float, comparison: Comparison, calibration: Calibration, *, samples: int
) -> Measurement:
    """Return a latency of the candidate in ms: the reference's, times the paired ratio with its interval.

    It is that of one call, which answers a whole batch. ``samples`` is the number of calls that it rests on.
    """
    return Measurement(
        name=name,
        value=comparison.ratio * reference_ms,
        unit="ms",
        direction=Direction.MINIMIZE,
        low=comparison.low * reference_ms,
        high=comparison.high * reference_ms,
        samples=samples,
        noisy=comparison.noisy or calibration.noisy,
    )


def latency_ratio(comparison: Comparison) -> Measurement:
    """Return the candidate's time as a share of the baseline's."""
    return Measurement(
        name="latency_ratio",
        value=comparison.ratio,
        unit="of baseline",
        direction=Direction.MINIMIZE,
        low=comparison.low,
        high=comparison.high,
        samples=comparison.samples,
        noisy=comparison.noisy,
    )


def _comparison(duel: Duel, ratios: Sequence[float], *, others: float | None, noisy: bool) -> Comparison:
    low, high = median_interval(ratios)
    candidate_ms, reference_ms = ([1000 * taken.wall_s for taken in side] for side in (duel.candidate, duel.reference))
    return Comparison(
        ratio=median(ratios),
        low=low,
        high=high,
        samples=len(reference_ms),
        candidate_p50_ms=median(candidate_ms),
        candidate_p95_ms=p95(candidate_ms) if duel.candidate_is_whole else None,
        reference_p50_ms=median(reference_ms),
        reference_p95_ms=p95(reference_ms) if duel.reference_is_whole else None,
        cpu_over_wall=processor_share(duel.reference),
        noisy=noisy,
        others=others,
    )
