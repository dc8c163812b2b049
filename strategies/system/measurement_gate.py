"""The gate between training and measuring: training pauses between two steps while this machine measures.

A pair of locks per user in the folder for temporary files. A training step holds the gate shared, a measurement holds
it alone. A waiting measurement also holds the turnstile, which keeps new steps from starting: it is not starved.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoopt.strategies.system.locks import SharedLock


def _lock(name: str) -> SharedLock:
    return SharedLock(Path(tempfile.gettempdir()) / f"autoopt-{os.getuid()}.{name}")


@contextmanager
def compute_step() -> Iterator[None]:
    """Hold during a step of work that would disturb a measurement; waits while one is running."""
    with _lock("turnstile").shared():
        pass
    with _lock("gate").shared():
        yield


@contextmanager
def measuring() -> Iterator[None]:
    """Hold during a measurement; waits until all steps of work on this machine have paused."""
    with _lock("turnstile").exclusive(), _lock("gate").exclusive():
        yield
