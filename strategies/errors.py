"""All errors that autoopt raises on purpose, with the exit code of a command that ends with each.

AutooptError
├── UsageError (2)            the user can fix it: a file, an option, a name
│   ├── ExperimentError       the experiment file
│   ├── DataError             a data file: it names the file, the line and the remedy
│   ├── ModelError            a model folder or name
│   ├── UnknownStrategy       no strategy of this name
│   └── UnknownName           no study, trial, model or alias of this name
├── EnvironmentProblem (5)    the machine or a service: something is missing, locked or unreachable
│   ├── StudyLocked           another process runs this study
│   ├── DiskFull              no space is left where the search writes
│   ├── DatabaseUnavailable   the study database does not answer
│   └── CorruptArtefact       a stored file is not what was written
└── TrialError (4)            one trial failed; the study continues
    ├── Diverged              the loss is not finite
    └── OutOfMemory           the device has no memory left
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar


class AutooptError(Exception):
    """Base class of all errors that autoopt raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(AutooptError):
    """The user's input cannot be used."""

    exit_code = 2


class ExperimentError(UsageError):
    """The experiment file is wrong."""


class DataError(UsageError):
    """A data file is wrong."""


class ModelError(UsageError):
    """A model folder or name is wrong."""


class UnknownStrategy(UsageError):
    """No strategy has this name."""


class UnknownName(UsageError):
    """No study, trial, model or alias has this name."""


class EnvironmentProblem(AutooptError):
    """The machine or a service is in the way: something is missing, locked or unreachable."""

    exit_code = 5


class StudyLocked(EnvironmentProblem):
    """Another process runs this study."""


class DiskFull(EnvironmentProblem):
    """No space is left where the search writes."""


class DatabaseUnavailable(EnvironmentProblem):
    """The study database does not answer."""


class CorruptArtefact(EnvironmentProblem):
    """A stored file is not what was written."""


class TrialError(AutooptError):
    """One trial failed; the study continues."""

    exit_code = 4


class Diverged(TrialError):
    """The loss is not finite."""


@dataclass(frozen=True)
class Shortage:
    """What a computation needed that ran out of memory."""

    device: str
    """Name of the hardware."""
    used_bytes: int
    """Most memory that the process had allocated there; 0 if unknown."""
    asked_bytes: int | None
    """Size of the allocation that failed; None if unknown."""
    total_bytes: int | None
    """Memory of the device; None if unknown."""
    stage: str = ""
    """Name of the strategy that was applied."""

    @property
    def needed_bytes(self) -> int:
        """The memory that it would have needed at least."""
        return self.used_bytes + (self.asked_bytes or 0)

    def __str__(self) -> str:
        if self.asked_bytes is None:
            return ""
        asked = _binary_size(self.asked_bytes)
        need = (
            f"{_binary_size(self.used_bytes)} in use and {asked} more"
            if self.used_bytes
            else f"{asked} more than it had"
        )
        return f"it needed {need}" + (f", of {_binary_size(self.total_bytes)}" if self.total_bytes else "")


class OutOfMemory(TrialError):
    """The device has no memory left; ``shortage`` says what was needed, if known."""

    def __init__(self, message: str, shortage: Shortage | None = None) -> None:
        super().__init__(message)
        self.shortage = shortage


def _binary_size(count: int) -> str:
    """Return a number of bytes as torch writes it: ``20.00 MiB``, ``2.50 GiB``."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.2f} MiB"


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'lora'?"`` for the nearest allowed word, or ``""`` if none is near."""
    words = list(allowed)
    near = difflib.get_close_matches(given, words, n=1, cutoff=0.6) or _parts_of(given, words)
    return f"; did you mean '{near[0]}'?" if near else ""


def _parts_of(given: str, words: Sequence[str]) -> list[str]:
    """Return the allowed words that are a part of the one given: ``text`` of ``text_column``; the longest first."""
    parts = re.split(r"[_\W]+", given.lower())
    return sorted((word for word in words if len(word) > 2 and word.lower() in parts), key=len, reverse=True)
