"""Every error that autoopt raises on purpose, and the exit code that it ends a command with.

AutooptError
├── UsageError (2)            the person can mend it: a file, an option, a name
│   ├── ExperimentError       the experiment file
│   ├── DataError             a data file: it names the file, the line and the remedy
│   ├── ModelError            a model folder or name
│   ├── UnknownStrategy       no strategy of this name
│   └── UnknownName           no study, trial, model or alias of this name
├── EnvironmentProblem (5)    the machine or a service: something is missing, locked or unreachable
│   ├── StudyLocked           another process runs this study
│   └── CorruptArtefact       a stored file is not what was written
└── TrialError (4)            one trial went wrong; the study goes on
    ├── Diverged              the loss is not finite
    └── OutOfMemory           the device has no memory left
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class AutooptError(Exception):
    """The root of all that autoopt raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(AutooptError):
    """What a person gave cannot be used."""

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
    """The machine or a service does not allow it."""

    exit_code = 5


class StudyLocked(EnvironmentProblem):
    """Another process runs this study."""


class CorruptArtefact(EnvironmentProblem):
    """A stored file is not what was written."""


class TrialError(AutooptError):
    """One trial went wrong; the study goes on."""

    exit_code = 4


class Diverged(TrialError):
    """The loss is not finite."""


class OutOfMemory(TrialError):
    """The device has no memory left."""


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'lora'?"`` for the nearest allowed word, or ``""`` where none is near."""
    near = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
