"""Latency of a call: a ratio to a reference timed in turn with it, and milliseconds through a calibration.

A shared machine changes its speed from minute to minute; the ratio of two calls made in turn does not. A candidate's
latency is therefore the median of paired ratios times the reference's latency, which is calibrated once on a quiet
machine. Everything is timed under ``measurement_gate.measuring``: one measurement at a time on this machine, with
training paused. Where other processes disturb it all the same, a model that computes on one processor is timed by its
processor time, which they distort by a few percent where they distort the clock's by half.

For texts of several lengths a pair is a round: each model runs each length once, in turn, and the ratio is that of the
two sums. Each length thus counts by the time it takes, and the median over the rounds excludes stalls. Percentiles are
those of the reference over the calls of all lengths, times that ratio: a gain that depends on the length enters as its
mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.attempts import (
    is_single_threaded_cpu,
    least_disturbed,
    measure_until_quiet,
    processor_share,
)
from autoopt.objectives.timing.clock import Clock, Sample, time_call
from autoopt.objectives.timing.pairing import (
    SCREENING,
    PairedTiming,
    Pairs,
    Work,
    as_calls,
    is_late,
    is_narrow,
    time_in_turn,
    total_cpu_s,
    total_wall_s,
    warm_up,
)
from autoopt.objectives.timing.percentiles import median_interval, p95, p99

MIN_RELATIVE_SHARE = 0.8
"""A candidate whose processor share is below this part of the reference's waits for something besides the processor."""
BELIEVED_HALF_WIDTH = 0.05
"""Half-width of the interval, relative to the median, up to which processor times are believed."""


@dataclass(frozen=True)
class Calibration:
    """Latency of the reference on this machine."""

    p50_ms: float
    p95_ms: float | None
    """None with fewer than 130 samples."""
    p99_ms: float | None
    """None with fewer than 662 samples."""
    samples: int
    cpu_over_wall: float
    noisy: bool
    mean_ms: float | None = None
    """Mean over several lengths, the median over the rounds; None with one length."""
    others: float | None = None
    """Processors, or share of the GPU, that other processes used meanwhile; None if unknown."""
    clock_mhz: float | None = None
    """Clock of the GPU after the measurement."""
    requested: int = 0
    """Samples that were asked for: more than ``samples`` if the calls are slow."""
    by_processor: bool = False
    """Whether the times are processor times, as other processes disturbed those on the clock."""

    @property
    def disturbed(self) -> bool:
        """Whether other processes disturbed it, so that a quiet machine may be faster."""
        return self.noisy or self.by_processor

    @property
    def call_ms(self) -> float:
        """Mean time of a call over all lengths."""
        return self.p50_ms if self.mean_ms is None else self.mean_ms

    def relative_to(self, other: Calibration, metric: str) -> float:
        """Return the ratio of the two times that the metric is based on: a percentile, else the median."""
        name = {"latency_p95": "p95_ms", "latency_p99": "p99_ms"}.get(metric, "p50_ms")
        own, others = getattr(self, name), getattr(other, name)
        return float(own / others) if own and others else self.p50_ms / other.p50_ms

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Calibration:
        return cls(**fields)


@dataclass(frozen=True)
class Comparison:
    """Median of the paired ratios of candidate to reference, with its 95 % interval. Below 1 is faster."""

    ratio: float
    low: float
    high: float
    samples: int
    """Number of pairs."""
    candidate_p50_ms: float
    candidate_p95_ms: float | None
    """None with fewer than 130 pairs, or if a sample is the mean of several calls."""
    reference_p50_ms: float
    reference_p95_ms: float | None
    cpu_over_wall: float
    """Median over the reference's samples; near 1 if a single thread had a processor for itself."""
    noisy: bool
    """Whether the machine was disturbed in every attempt, and the processor times do not tell the ratio either."""
    others: float | None = None
    """Processors, or share of the GPU, that other processes used meanwhile; None if unknown."""
    by_processor: bool = False
    """Whether the ratio is that of processor times, as other processes disturbed those on the clock."""

    @property
    def disturbed(self) -> bool:
        """Whether other processes disturbed the times on the clock."""
        return self.noisy or self.by_processor

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Comparison:
        return cls(**fields)

    @classmethod
    def identity(cls, calibration: Calibration) -> Comparison:
        """Return the comparison of the reference, or of a model of its shape, with itself: 1 by definition."""
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
            by_processor=calibration.by_processor,
        )


def calibrate(
    reference: Work,
    target: Target,
    *,
    samples: int = 150,
    seconds: float = math.inf,
    cpu_bound: bool = True,
    clock: Clock | None = None,
) -> Calibration:
    """Time the reference alone, at least ``samples`` calls, or six rounds and as many as ``seconds`` allow.

    ``cpu_bound=False`` says that it waits for something other than the processor. On a disturbed machine the times are
    processor times where one thread computes; ``noisy`` if their median is not known to 5 % either.
    """
    clock = clock or Clock.of(target)
    calls, may_use_processor = as_calls(reference), cpu_bound and is_single_threaded_cpu(target)

    def time_rounds() -> list[list[Sample]]:
        warm_up(reference, clock)
        rounds, started_at = list[list[Sample]](), clock.wall()
        while len(rounds) * len(calls) < samples and not is_late(len(rounds), started_at, seconds, clock):
            rounds.append([time_call(call, clock) for call in calls])
        return rounds

    def samples_of(rounds: list[list[Sample]]) -> list[Sample]:
        return [sample for samples in rounds for sample in samples]

    def is_believed(rounds: list[list[Sample]]) -> bool:
        return may_use_processor and is_narrow([total_cpu_s(samples) for samples in rounds], BELIEVED_HALF_WIDTH)

    attempts = measure_until_quiet(time_rounds, samples_of, target, clock, cpu_bound=cpu_bound, is_enough=is_believed)
    last = attempts[-1]
    by_processor = last.disturbed and is_believed(last.result)
    best = last if by_processor else least_disturbed(attempts)
    times_ms = [1000 * (sample.cpu_s if by_processor else sample.wall_s) for sample in samples_of(best.result)]
    total_s = total_cpu_s if by_processor else total_wall_s
    means_ms = [1000 * total_s(samples_of_round) / len(calls) for samples_of_round in best.result]
    return Calibration(
        p50_ms=median(times_ms),
        p95_ms=p95(times_ms),
        p99_ms=p99(times_ms),
        samples=len(times_ms),
        cpu_over_wall=best.share,
        noisy=best.disturbed and not by_processor,
        by_processor=by_processor,
        mean_ms=median(means_ms) if len(calls) > 1 else None,
        others=best.others,
        clock_mhz=clock.frequency_mhz(),
        requested=samples,
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
    """Time both in turn until the ratio is known to 3 % and its interval excludes ``limit_ratio``.

    ``pairs`` bounds the number of pairs: ``SCREENING`` at most 52, ``THOROUGH`` enough for a 95th percentile.
    ``cpu_bound=False`` says that the reference waits for something other than the processor, so that its processor
    share does not show whether the machine was disturbed.

    If other processes disturbed it and both models only compute on one processor, its ratio is that of processor times.
    ``noisy`` if all three attempts were disturbed and the processor times do not tell the ratio to 5 % either; it then
    pools their pairs.
    """
    clock = clock or Clock.of(target)
    may_use_processor = cpu_bound and is_single_threaded_cpu(target)

    def time_pairs() -> PairedTiming:
        return time_in_turn(
            candidate, reference, clock, pairs=pairs, limit_ratio=limit_ratio, may_use_processor=may_use_processor
        )

    def only_computes(timing: PairedTiming) -> bool:
        share, of_reference = processor_share(timing.candidate), processor_share(timing.reference)
        return may_use_processor and share > MIN_RELATIVE_SHARE * of_reference

    def is_believed(timing: PairedTiming) -> bool:
        return only_computes(timing) and is_narrow(timing.processor_ratios, BELIEVED_HALF_WIDTH)

    attempts = measure_until_quiet(
        time_pairs, lambda timing: timing.reference, target, clock, cpu_bound=cpu_bound, is_enough=is_believed
    )
    last = attempts[-1]
    if not last.disturbed:
        return _comparison(last.result, last.result.ratios, others=last.others, noisy=False)
    timing, others = last.result, last.others
    if not is_believed(timing):
        timing = PairedTiming.pooled([attempt.result for attempt in attempts])
        others = least_disturbed(attempts).others
    by_processor = only_computes(timing)
    ratios = timing.processor_ratios if by_processor else timing.ratios
    return _comparison(timing, ratios, others=others, noisy=not is_believed(timing), by_processor=by_processor)


def latency(
    name: str, reference_ms: float, comparison: Comparison, calibration: Calibration, *, samples: int
) -> Measurement:
    """Return a latency of the candidate in ms: the reference's, times the paired ratio with its interval.

    It is the latency of one call, which answers a whole batch. ``samples`` is the number of calls behind it.
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
        by_processor=comparison.by_processor or calibration.by_processor,
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
        by_processor=comparison.by_processor,
    )


def _comparison(
    timing: PairedTiming,
    ratios: Sequence[float],
    *,
    others: float | None,
    noisy: bool,
    by_processor: bool = False,
) -> Comparison:
    low, high = median_interval(ratios)
    candidate_ms, reference_ms = (
        [1000 * sample.wall_s for sample in samples] for samples in (timing.candidate, timing.reference)
    )
    return Comparison(
        ratio=median(ratios),
        low=low,
        high=high,
        samples=len(reference_ms),
        candidate_p50_ms=median(candidate_ms),
        candidate_p95_ms=p95(candidate_ms) if timing.candidate_is_single else None,
        reference_p50_ms=median(reference_ms),
        reference_p95_ms=p95(reference_ms) if timing.reference_is_single else None,
        cpu_over_wall=processor_share(timing.reference),
        noisy=noisy,
        others=others,
        by_processor=by_processor,
    )
