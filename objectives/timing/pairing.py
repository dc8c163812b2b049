"""Two models timed in turn: which calls are made, in which order, and how many of them are enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from autoopt.objectives.timing.clock import Call, Clock, Sample, take
from autoopt.objectives.timing.percentiles import ENOUGH_FOR_P99, median_interval

WARM_UP_CALLS = 5
WARM_UP_CALLS_OF_MANY = 2
"""For each length, where there are several."""
SHORTEST_SAMPLE_S = 0.002
"""A shorter call is repeated within a sample until it takes this long."""
LEAD_BELOW_S = 0.02
"""A shorter call is made once untimed before each sample: the other model has just emptied the caches."""
HALF_WIDTH = 0.03
"""A comparison goes on until its interval is this narrow to each side, relative to the ratio."""
FEWEST_ROUNDS = 6
"""Fewer values carry no 95 % interval of their median."""

Work: TypeAlias = Call | Sequence[Call]
"""What is timed: one call, or one for each length that occurs, all of them equally often."""


@dataclass(frozen=True)
class Pairs:
    """How many pairs a comparison takes. Even numbers: each model goes first equally often."""

    minimum: int
    maximum: int

    def rounds(self, lengths: int) -> Pairs:
        """The same in rounds, each of which takes one pair of every length."""
        if lengths == 1:
            return self
        least = max(FEWEST_ROUNDS, math.ceil(self.minimum / lengths))
        most = max(2 * FEWEST_ROUNDS, math.ceil(self.maximum / lengths))
        return Pairs(least + least % 2, most + most % 2)


SCREENING = Pairs(16, 52)
THOROUGH = Pairs(150, 300)
"""Enough for a 95th percentile."""
FOR_P99 = Pairs(ENOUGH_FOR_P99 + ENOUGH_FOR_P99 % 2, ENOUGH_FOR_P99 + ENOUGH_FOR_P99 % 2)
"""Enough for a 99th percentile."""


@dataclass(frozen=True)
class Side:
    """One call of one model."""

    call: Call
    repeats: int
    has_lead: bool

    @classmethod
    def warm(cls, call: Call, clock: Clock, *, calls: int) -> Side:
        """Make the first calls, which are slower than all others, and see how long one takes."""
        typical = median([take(call, clock).wall_s for _ in range(calls)][1:])
        repeats = max(1, math.ceil(SHORTEST_SAMPLE_S / max(typical, 1e-7)))
        return cls(call, repeats, has_lead=typical < LEAD_BELOW_S)

    def turn(self, clock: Clock) -> Sample:
        if self.has_lead:
            self.call()
        return take(self.call, clock, repeats=self.repeats)


@dataclass(frozen=True)
class Round:
    """Every length once, by both models: the candidate's samples and the reference's."""

    candidate: tuple[Sample, ...]
    reference: tuple[Sample, ...]

    @property
    def ratio(self) -> float:
        """The candidate's time for all of the lengths together, as a share of the reference's."""
        return total_s(self.candidate) / total_s(self.reference)

    @property
    def processor_ratio(self) -> float:
        """The same of the times on the processor, which do not grow while another process has it."""
        own, others = (math.fsum(sample.cpu_s for sample in side) for side in (self.candidate, self.reference))
        return own / others


@dataclass(frozen=True)
class Duel:
    """What was timed."""

    rounds: tuple[Round, ...]
    candidate_is_whole: bool
    """False where a sample is the mean of several calls, which says nothing of the slowest of them."""
    reference_is_whole: bool

    @classmethod
    def pooled(cls, duels: Sequence[Duel]) -> Duel:
        """All rounds of several."""
        return cls(
            tuple(taken for duel in duels for taken in duel.rounds),
            all(duel.candidate_is_whole for duel in duels),
            all(duel.reference_is_whole for duel in duels),
        )

    @property
    def ratios(self) -> list[float]:
        return [taken.ratio for taken in self.rounds]

    @property
    def processor_ratios(self) -> list[float]:
        return [taken.processor_ratio for taken in self.rounds]

    @property
    def candidate(self) -> list[Sample]:
        return [sample for taken in self.rounds for sample in taken.candidate]

    @property
    def reference(self) -> list[Sample]:
        return [sample for taken in self.rounds for sample in taken.reference]


def calls_of(work: Work) -> tuple[Call, ...]:
    """The calls that a round is made of."""
    return (work,) if callable(work) else tuple(work)


def warmed_up(work: Work, clock: Clock) -> tuple[Side, ...]:
    """Each call of it, ready to be timed."""
    calls = calls_of(work)
    return tuple(
        Side.warm(call, clock, calls=WARM_UP_CALLS_OF_MANY if len(calls) > 1 else WARM_UP_CALLS) for call in calls
    )


def in_turn(candidate: Work, reference: Work, clock: Clock, *, pairs: Pairs, limit_ratio: float | None) -> Duel:
    """Time both until the ratio is known to 3 % and its interval is clear of ``limit_ratio``, or all pairs are used up.

    Raises ``ValueError`` where the two are not calls of the same lengths.
    """
    sides = list(zip(warmed_up(candidate, clock), warmed_up(reference, clock), strict=True))
    least, taken = pairs.rounds(len(sides)), list[Round]()
    while not _is_enough(taken, least, limit_ratio):
        taken.append(_round(sides, clock, number=len(taken)))
    whole = [all(pair[place].repeats == 1 for pair in sides) for place in (0, 1)]
    return Duel(tuple(taken), *whole)


def total_s(samples: Sequence[Sample]) -> float:
    """What the calls took together."""
    return math.fsum(sample.wall_s for sample in samples)


def _round(sides: Sequence[tuple[Side, Side]], clock: Clock, *, number: int) -> Round:
    ours, theirs = [], []
    for place, (candidate, reference) in enumerate(sides):
        if (number + place) % 2 == 1:
            theirs.append(reference.turn(clock))
            ours.append(candidate.turn(clock))
        else:
            ours.append(candidate.turn(clock))
            theirs.append(reference.turn(clock))
    return Round(tuple(ours), tuple(theirs))


def _is_enough(taken: Sequence[Round], rounds: Pairs, limit_ratio: float | None) -> bool:
    if len(taken) < rounds.minimum or len(taken) % 2 == 1:
        return False
    if len(taken) >= rounds.maximum:
        return True
    ratios = [found.ratio for found in taken]
    low, high = median_interval(ratios)
    is_clear = limit_ratio is None or not low <= limit_ratio <= high
    return is_clear and (high - low) / 2 <= HALF_WIDTH * median(ratios)
