"""Paired timing of two models: which calls are made, in which order, and how many are enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeAlias

from autoopt.objectives.timing.attempts import MIN_PROCESSOR_SHARE, processor_share
from autoopt.objectives.timing.clock import Call, Clock, Sample, time_call
from autoopt.objectives.timing.percentiles import MIN_SAMPLES_P99, median_interval

WARM_UP_CALLS = 5
WARM_UP_CALLS_PER_LENGTH = 2
"""Used instead if there are several lengths."""
MIN_SAMPLE_S = 0.002
"""A shorter call is repeated within a sample until the sample takes this long."""
LEAD_IN_BELOW_S = 0.02
"""A shorter call is made once untimed before each sample, to refill the caches that the other model emptied."""
HALF_WIDTH = 0.03
"""Half-width of the interval, relative to the ratio, at which a comparison stops."""
PROCESSOR_HALF_WIDTH = 0.015
"""The same of processor times: beside others they vary together for a while, as the caches do."""
MORE_BY_PROCESSOR = 6
"""Factor of the largest number of pairs if they are compared by processor time."""
MIN_ROUNDS = 6
"""Fewer values carry no 95 % interval of their median."""

Work: TypeAlias = Call | Sequence[Call]
"""One call, or one for each length that occurs, all of them equally often."""


@dataclass(frozen=True)
class Pairs:
    """Number of pairs of a comparison. Even, so that each model goes first equally often."""

    minimum: int
    maximum: int
    seconds: float = math.inf
    """Time after which no further round begins, once there are ``MIN_ROUNDS``: slow calls are made less often."""

    def rounds(self, lengths: int) -> Pairs:
        """Return the same in rounds, each of which has one pair of every length."""
        if lengths == 1:
            return self
        minimum = max(MIN_ROUNDS, math.ceil(self.minimum / lengths))
        maximum = max(2 * MIN_ROUNDS, math.ceil(self.maximum / lengths))
        return replace(self, minimum=minimum + minimum % 2, maximum=maximum + maximum % 2)


SCREENING = Pairs(16, 52, seconds=20)
VERIFYING = Pairs(150, 300, seconds=30)
"""Enough for a 95th percentile of calls that take up to 0.1 s."""
THOROUGH = replace(VERIFYING, seconds=math.inf)
"""Enough for a 95th percentile."""
FOR_P99 = Pairs(MIN_SAMPLES_P99 + MIN_SAMPLES_P99 % 2, MIN_SAMPLES_P99 + MIN_SAMPLES_P99 % 2)
"""Enough for a 99th percentile."""


@dataclass(frozen=True)
class TimedCall:
    """One call of one model, and how it is sampled."""

    call: Call
    repeats: int
    has_lead_in: bool

    @classmethod
    def warm(cls, call: Call, clock: Clock, *, calls: int) -> TimedCall:
        """Make the first calls, which are slower than all later ones, and see how long one takes."""
        typical_s = median([time_call(call, clock).wall_s for _ in range(calls)][1:])
        repeats = max(1, math.ceil(MIN_SAMPLE_S / max(typical_s, 1e-7)))
        return cls(call, repeats, has_lead_in=typical_s < LEAD_IN_BELOW_S)

    def sample(self, clock: Clock) -> Sample:
        """Time it once."""
        if self.has_lead_in:
            self.call()
        return time_call(self.call, clock, repeats=self.repeats)


@dataclass(frozen=True)
class Round:
    """Samples of both models, one for each length."""

    candidate: tuple[Sample, ...]
    reference: tuple[Sample, ...]

    @property
    def ratio(self) -> float:
        """The candidate's wall time over all lengths, divided by the reference's."""
        return total_wall_s(self.candidate) / total_wall_s(self.reference)

    @property
    def processor_ratio(self) -> float:
        """The same of processor time, which does not grow while another process has the processor."""
        return total_cpu_s(self.candidate) / total_cpu_s(self.reference)


@dataclass(frozen=True)
class PairedTiming:
    """All rounds of a comparison."""

    rounds: tuple[Round, ...]
    candidate_is_single: bool
    """Whether each sample is a single call; a mean of several says nothing about the slowest."""
    reference_is_single: bool

    @classmethod
    def pooled(cls, timings: Sequence[PairedTiming]) -> PairedTiming:
        """Return the rounds of several timings as one."""
        return cls(
            tuple(pairs for timing in timings for pairs in timing.rounds),
            all(timing.candidate_is_single for timing in timings),
            all(timing.reference_is_single for timing in timings),
        )

    @property
    def ratios(self) -> list[float]:
        return [pairs.ratio for pairs in self.rounds]

    @property
    def processor_ratios(self) -> list[float]:
        return [pairs.processor_ratio for pairs in self.rounds]

    @property
    def candidate(self) -> list[Sample]:
        return [sample for pairs in self.rounds for sample in pairs.candidate]

    @property
    def reference(self) -> list[Sample]:
        return [sample for pairs in self.rounds for sample in pairs.reference]


def as_calls(work: Work) -> tuple[Call, ...]:
    """Return the calls of one round."""
    return (work,) if callable(work) else tuple(work)


def warm_up(work: Work, clock: Clock) -> tuple[TimedCall, ...]:
    """Warm up every call and return it ready to be timed."""
    calls = as_calls(work)
    count = WARM_UP_CALLS_PER_LENGTH if len(calls) > 1 else WARM_UP_CALLS
    return tuple(TimedCall.warm(call, clock, calls=count) for call in calls)


def time_in_turn(
    candidate: Work,
    reference: Work,
    clock: Clock,
    *,
    pairs: Pairs,
    limit_ratio: float | None,
    may_use_processor: bool = False,
) -> PairedTiming:
    """Time both in turn until the ratio is known to 3 % and its interval excludes ``limit_ratio``, or pairs run out.

    ``may_use_processor``: the ratio of processor times is enough while other processes take the processor away.
    Raises ``ValueError`` if the two have different numbers of lengths.
    """
    timed = list(zip(warm_up(candidate, clock), warm_up(reference, clock), strict=True))
    limits, rounds, started_at = pairs.rounds(len(timed)), list[Round](), clock.wall()
    while not (
        _is_enough(rounds, limits, limit_ratio, may_use_processor)
        or is_late(len(rounds), started_at, limits.seconds, clock)
    ):
        rounds.append(_time_round(timed, clock, number=len(rounds)))
    is_single = [all(pair[side].repeats == 1 for pair in timed) for side in (0, 1)]
    return PairedTiming(tuple(rounds), *is_single)


def total_wall_s(samples: Sequence[Sample]) -> float:
    """Return the sum of the wall times."""
    return math.fsum(sample.wall_s for sample in samples)


def total_cpu_s(samples: Sequence[Sample]) -> float:
    """Return the sum of the processor times."""
    return math.fsum(sample.cpu_s for sample in samples)


def _time_round(timed: Sequence[tuple[TimedCall, TimedCall]], clock: Clock, *, number: int) -> Round:
    candidate_samples, reference_samples = [], []
    for place, (candidate, reference) in enumerate(timed):
        if (number + place) % 2 == 1:
            reference_samples.append(reference.sample(clock))
            candidate_samples.append(candidate.sample(clock))
        else:
            candidate_samples.append(candidate.sample(clock))
            reference_samples.append(reference.sample(clock))
    return Round(tuple(candidate_samples), tuple(reference_samples))


def is_late(rounds: int, started_at: float, seconds: float, clock: Clock) -> bool:
    """Whether the time is used up, and the rounds carry an interval of their median."""
    return rounds >= MIN_ROUNDS and rounds % 2 == 0 and clock.wall() - started_at >= seconds


def _is_enough(rounds: Sequence[Round], limits: Pairs, limit_ratio: float | None, may_use_processor: bool) -> bool:
    if len(rounds) < limits.minimum or len(rounds) % 2 == 1:
        return False
    by_processor = may_use_processor and _lack_processor(rounds)
    if len(rounds) >= limits.maximum * (MORE_BY_PROCESSOR if by_processor else 1):
        return True
    ratios = [pairs.processor_ratio if by_processor else pairs.ratio for pairs in rounds]
    low, high = median_interval(ratios)
    excludes_limit = limit_ratio is None or not low <= limit_ratio <= high
    return excludes_limit and is_narrow(ratios, PROCESSOR_HALF_WIDTH if by_processor else HALF_WIDTH)


def is_narrow(values: Sequence[float], half_width: float) -> bool:
    """Whether the interval of their median is as narrow as ``half_width``, relative to the median."""
    low, high = median_interval(values)
    return (high - low) / 2 <= half_width * median(values)


def _lack_processor(rounds: Sequence[Round]) -> bool:
    return processor_share([sample for pairs in rounds for sample in pairs.reference]) < MIN_PROCESSOR_SHARE
