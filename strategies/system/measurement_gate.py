"""The gate between training and measuring: training pauses between two steps while this machine measures.

A pair of locks per user in the folder for temporary files. A training step holds the gate shared, a measurement holds
it alone. A waiting measurement also holds the turnstile, which keeps new steps from starting: it is not starved. Who
holds a lock but is stopped or dead computes nothing, so the others go on without it.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeAlias

from autoopt.strategies.errors import EnvironmentProblem
from autoopt.strategies.system import devices
from autoopt.strategies.system.locks import PassOver, SharedLock, describe_process, stands_still

_LOG = logging.getLogger(__name__)
PATIENCE_S = 30.0
"""How long a process waits before it says for whom."""
STILL_S = 1.0
"""How long a process waits for one that stands still."""

Tell: TypeAlias = Callable[[str], None]

_is_serving: ContextVar[bool] = ContextVar("is_serving", default=False)
_tell: ContextVar[Tell] = ContextVar("tell", default=_LOG.warning)


@contextmanager
def telling(tell: Tell) -> Iterator[None]:
    """Call ``tell`` with a line when this thread waits for long within the block; by default it is logged."""
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)


@contextmanager
def serving() -> Iterator[None]:
    """Let steps within the block wait for nothing: who asks a model is not to wait for a search on the same machine."""
    token = _is_serving.set(True)
    try:
        yield
    finally:
        _is_serving.reset(token)


@contextmanager
def compute_step(give_up: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold during a step of work that would disturb a measurement; waits while one is running.

    A caller that waits goes on without the gate once ``give_up`` returns True. The step ends when the training device
    has done what the block queued, so that no work of it reaches into a measurement.

    Raises ``EnvironmentProblem``, like ``measuring``, if a file of the gate belongs to another user.
    """
    if _is_serving.get():
        yield
        return
    with _at("turnstile", exclusive=False, give_up=give_up):
        pass
    with _at("gate", exclusive=False, give_up=give_up):
        try:
            yield
        finally:
            devices.training_device().synchronize()


@contextmanager
def measuring() -> Iterator[None]:
    """Hold during a measurement; waits until all steps of work on this machine have paused."""
    with _at("turnstile", exclusive=True), _at("gate", exclusive=True):
        yield


@contextmanager
def _at(name: str, *, exclusive: bool, give_up: Callable[[], bool] = lambda: False) -> Iterator[None]:
    lock = SharedLock(Path(tempfile.gettempdir()) / f"autoopt-{os.getuid()}.{name}")
    pass_over = _pass_over(lock, give_up)
    acquire = lock.exclusive(pass_over) if exclusive else lock.shared(pass_over)
    with ExitStack() as stack:
        try:
            stack.enter_context(acquire)
        except OSError as error:
            raise EnvironmentProblem(
                f"the lock {lock.path} cannot be opened ({error.strerror}): somebody else made it; remove it, or set "
                "TMPDIR to a folder of your own"
            ) from None
        yield


def _pass_over(lock: SharedLock, give_up: Callable[[], bool]) -> PassOver:
    """Return what a waiting process does: go on if all holders stand still, and say once for whom it waits."""
    looked_at_s = 0.0
    has_told = False

    def look(waited_s: float) -> bool:
        nonlocal looked_at_s, has_told
        if give_up():
            return True
        if waited_s - looked_at_s < STILL_S:
            return False
        looked_at_s = waited_s
        holders = lock.holders()
        if holders and all(map(stands_still, holders)):
            return True
        if waited_s >= PATIENCE_S and not has_told:
            has_told = True
            names = ", ".join(map(describe_process, holders)) or "another process"
            _tell.get()(f"waiting for {names}, which holds the measurements on this machine")
        return False

    return look
