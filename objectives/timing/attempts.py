"""Measure again while the machine is disturbed: up to three times, and then say that it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

from autoopt.objectives.target import Target
from autoopt.objectives.timing.clock import Clock, Sample, conditions
from autoopt.strategies.system import measurement_gate

UNDISTURBED = 0.9
"""A single thread that gets less than this share of a processor is not alone on it."""
ATTEMPTS = 3
PAUSE_S = 1.0
"""Between two attempts, for what disturbs to pass; less where an attempt is shorter than that."""

Taken = TypeVar("Taken")


@dataclass(frozen=True)
class Attempt(Generic[Taken]):
    """One measurement with what the machine did meanwhile."""

    taken: Taken
    share: float
    """Of a processor: the median over the calls; near 1 where a single thread had one for itself."""
    others: float | None
    """How many processors, or what share of the GPU, other processes used; None where it is not known."""
    noisy: bool
    """True where it was disturbed."""


def attempts(
    take: Callable[[], Taken],
    calls: Callable[[Taken], Sequence[Sample]],
    target: Target,
    clock: Clock,
    *,
    cpu_bound: bool = True,
) -> list[Attempt[Taken]]:
    """Measure until an attempt is undisturbed, at most three times; the last one is noisy only where all of them are.

    Each is alone on this machine, with training paused. ``calls`` are those of an attempt that show the share of the
    processor, which only counts where they do nothing but compute: ``cpu_bound``.
    """
    tried: list[Attempt[Taken]] = []
    took_s = 0.0
    while len(tried) < ATTEMPTS and all(attempt.noisy for attempt in tried):
        if tried:
            clock.pause(min(PAUSE_S, took_s))
        with measurement_gate.measuring(), conditions(target):
            ended, begun = clock.watch(), clock.wall()
            taken = take()
            others, took_s = ended(), clock.wall() - begun
        share = processor_share(calls(taken))
        noisy = _has_neighbours(others, clock) or (cpu_bound and is_single(target) and share < UNDISTURBED)
        tried.append(Attempt(taken, share, others, noisy))
    return tried


def least_disturbed(tried: Sequence[Attempt[Taken]]) -> Attempt[Taken]:
    """The undisturbed attempt, or the one that comes next to it."""
    return max(tried, key=lambda attempt: (not attempt.noisy, attempt.share - (attempt.others or 0.0)))


def processor_share(samples: Sequence[Sample]) -> float:
    """What a call got of a processor while it ran; 1 where nothing is known."""
    return median(sample.cpu_s / sample.wall_s for sample in samples) if samples else 1.0


def is_single(target: Target) -> bool:
    """Whether a call is to be on one processor from its beginning to its end.

    Several threads spin while they wait, and a GPU's work is not the processor's.
    """
    return target.threads == 1 and not target.is_cuda


def _has_neighbours(others: float | None, clock: Clock) -> bool:
    return others is not None and others > clock.tolerated
