"""What fits into the time that a search was given: the share of each part, and the examples of a first pass."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

FIRST_TRUNK_SHARE = 0.25
"""Share of the time after which the baseline should be trained."""
LEAST_FIRST_SHARE = 0.2
"""The same from its start, if most of a quarter is over by then."""
VALIDATION_SHARE = 0.03
TEST_SHARE = 0.05
"""Largest share of the time to score the baseline once, on the validation and on the test split."""
VERIFICATION_SHARE = 0.2
MAX_VERIFICATION_S = 180.0
"""The time that is kept back to verify and register the front."""
WORKERS_START_S = 12.0
"""From the end of the checks until a worker trains: its process, libraries, model and data."""
TRIAL_OVERHEAD_S = 8.0
"""Time of the baseline besides training and scoring: its latency is measured."""
CONTENTION = 1.3
"""How much longer a training takes while other workers train on the same machine."""
STEP_EXTRA = 1.1
"""Training time over that of its steps: it is scored while it is trained."""
LEAST = {"train": 20, "validation": 50, "test": 50}
"""Fewest examples, if there are as many; a sample has at least one of each class besides."""


@dataclass(frozen=True)
class Speed:
    """Time for one example of mean length, in seconds on one worker."""

    train_s: float
    """One optimizer step over a batch, per example."""
    forward_s: float


@dataclass(frozen=True)
class Deadline:
    """The time that a whole command may take."""

    timeout_s: float | None
    """None for no limit."""
    started_at: float | None = None
    """``time.monotonic()`` when the command started; None if it starts with its first trial."""

    @classmethod
    def starting_now(cls, timeout_s: float | None = None) -> Deadline:
        return cls(timeout_s, time.monotonic())

    @property
    def verification_s(self) -> float:
        """The time that is kept back to verify and register the front."""
        return 0.0 if self.timeout_s is None else min(VERIFICATION_SHARE * self.timeout_s, MAX_VERIFICATION_S)

    @property
    def trials_s(self) -> float | None:
        """Seconds from the start after which no trial runs; None for no limit."""
        return None if self.timeout_s is None else self.timeout_s - self.verification_s

    @property
    def elapsed_s(self) -> float:
        return 0.0 if self.started_at is None else time.monotonic() - self.started_at

    @property
    def left_s(self) -> float | None:
        """Seconds until the end; None for no limit."""
        return None if self.timeout_s is None else self.timeout_s - self.elapsed_s


@dataclass(frozen=True)
class FirstPass:
    """The examples with which a search begins, if all of them would take too long."""

    samples: Mapping[str, int]
    """Of the splits that are limited; empty if all examples fit."""
    timeout_for_all_s: float
    """The least timeout with which all of them would be used."""

    @classmethod
    def fitting(
        cls,
        sizes: Mapping[str, int],
        speed: Speed,
        *,
        timeout_s: float,
        elapsed_s: float,
        epochs: float,
        workers: int,
    ) -> FirstPass:
        """Return how many of ``sizes`` examples of each split fit; each epoch of the baseline reads all of its own.

        ``elapsed_s`` of the time are over.
        """
        contention = CONTENTION if workers > 1 else 1.0
        example_s = contention * (epochs * STEP_EXTRA * speed.train_s + speed.forward_s)
        scored_s = contention * speed.forward_s
        shares = {"validation": VALIDATION_SHARE, "test": TEST_SHARE}
        allowed = {name: _at_least(name, sizes, share * timeout_s / scored_s) for name, share in shares.items()}
        fixed_s = TRIAL_OVERHEAD_S + min(allowed["validation"], sizes["validation"]) * scored_s
        first_s = max(FIRST_TRUNK_SHARE * timeout_s - elapsed_s - WORKERS_START_S, LEAST_FIRST_SHARE * timeout_s)
        allowed["train"] = _at_least("train", sizes, (first_s - fixed_s) / example_s)
        trained_s = example_s * sizes["train"] + scored_s * sizes["validation"]
        needed = [
            (elapsed_s + WORKERS_START_S + TRIAL_OVERHEAD_S + trained_s) / FIRST_TRUNK_SHARE,
            *(sizes[name] * scored_s / share for name, share in shares.items()),
        ]
        return cls({name: allowed[name] for name in sizes if allowed[name] < sizes[name]}, max(needed))


def _at_least(name: str, sizes: Mapping[str, int], count: float) -> int:
    return max(_rounded(count), min(LEAST[name], sizes[name]))


def _rounded(count: float) -> int:
    """Return the number rounded down to two digits, so that two runs on one machine mostly agree."""
    if count < 1:
        return 0
    unit = int(10 ** max(0, len(str(int(count))) - 2))
    return int(count) // unit * unit


def minutes_up(seconds: float) -> str:
    """Return a duration in whole minutes, rounded up, as an experiment has it: ``7m``, ``2h``."""
    minutes = ceil(seconds / 60)
    return f"{minutes}m" if minutes < 120 else f"{ceil(minutes / 60)}h"
