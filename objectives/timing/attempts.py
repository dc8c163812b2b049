"""Repeat a measurement while the machine is disturbed and the result cannot be believed, at most three times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

from autoopt.objectives.target import Target
from autoopt.objectives.timing.clock import Clock, Sample, conditions
from autoopt.strategies.system import measurement_gate

MIN_PROCESSOR_SHARE = 0.9
"""A single thread that gets less of a processor than this shares it with another process."""
EXPLAINED = 0.5
"""Share of the lost processor time that other processes must have used if they are to be the reason."""
MAX_ATTEMPTS = 3
MAX_SECONDS = 60.0
"""Time of all attempts after which there is no other one."""
PAUSE_S = 1.0
"""Longest pause before another attempt; never longer than the attempt itself took."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Attempt(Generic[Result]):
    """One measurement, and what the machine did meanwhile."""

    result: Result
    share: float
    """Median share of a processor over the calls; near 1 if a single thread had a processor for itself."""
    others: float | None
    """Processors, or share of the GPU, that other processes used; None if unknown."""
    disturbed: bool
    """Whether other processes disturbed it."""


def measure_until_quiet(
    measure: Callable[[], Result],
    samples_of: Callable[[Result], Sequence[Sample]],
    target: Target,
    clock: Clock,
    *,
    cpu_bound: bool = True,
    is_enough: Callable[[Result], bool] = lambda _: False,
) -> list[Attempt[Result]]:
    """Call ``measure`` until an attempt is undisturbed, at most three times in a minute; return all attempts.

    A disturbed attempt whose result ``is_enough`` is also the last. Each runs alone on this machine, with training
    paused. ``samples_of`` returns the samples whose processor share shows a disturbance; with ``cpu_bound=False`` that
    share is ignored.
    """
    attempts: list[Attempt[Result]] = []
    duration_s, first_at = 0.0, clock.wall()
    while len(attempts) < MAX_ATTEMPTS and all(
        attempt.disturbed and not is_enough(attempt.result) for attempt in attempts
    ):
        if clock.wall() - first_at > MAX_SECONDS:
            break
        if attempts:
            clock.pause(min(PAUSE_S, duration_s))
        with measurement_gate.measuring(), conditions(target):
            stop_watch, started_at = clock.watch(), clock.wall()
            result = measure()
            others, duration_s = stop_watch(), clock.wall() - started_at
        share = processor_share(samples_of(result))
        lacks_processor = cpu_bound and is_single_threaded_cpu(target) and _lost_to_others(share, others)
        attempts.append(Attempt(result, share, others, disturbed=lacks_processor or _has_neighbours(others, clock)))
    return attempts


def least_disturbed(attempts: Sequence[Attempt[Result]]) -> Attempt[Result]:
    """Return the undisturbed attempt, else the one with the largest processor share and the least other load."""
    return max(attempts, key=lambda attempt: (not attempt.disturbed, attempt.share - (attempt.others or 0.0)))


def processor_share(samples: Sequence[Sample]) -> float:
    """Return the median ratio of processor time to wall time; 1 if there are no samples."""
    return median(sample.cpu_s / sample.wall_s for sample in samples) if samples else 1.0


def is_single_threaded_cpu(target: Target) -> bool:
    """Whether a call occupies exactly one processor.

    Several threads spin while they wait, and a GPU's work is not the processor's.
    """
    return target.threads == 1 and not target.is_cuda


def _lost_to_others(share: float, others: float | None) -> bool:
    """Whether other processes took a single thread's processor; if they used none meanwhile, the thread waited."""
    lost = 1.0 - share
    return lost > 1.0 - MIN_PROCESSOR_SHARE and (others is None or others > EXPLAINED * lost)


def _has_neighbours(others: float | None, clock: Clock) -> bool:
    return others is not None and others > clock.max_others
