"""Tracks a search in MLflow from a background thread that never stops or delays it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from autoopt.search.backends.mlflow_client import describe_failure, failures, prepare_environment
from autoopt.search.backends.mlflow_runs import Ending, StudyRuns
from autoopt.search.names import check_name
from autoopt.search.paths import Root
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.system import measurement_gate

_LOG = logging.getLogger(__name__)
_RETRY_AFTER_S = 30.0
PATIENCE_S = 5.0
"""How long ``sync`` and ``close`` wait for a server while it answers nothing."""
LOCAL_PATIENCE_S = 60.0
"""The same for the database under the root, which another process may keep busy."""

_Write: TypeAlias = Callable[[StudyRuns], object]
"""Writes one thing; returns True if that was a trial that MLflow did not have."""


@dataclass(frozen=True)
class _Order:
    """Writes for the thread, and a future for the number of trials written if the caller waits."""

    writes: tuple[_Write, ...]
    answer: Future[int] | None = None
    last: bool = False


class MlflowTracker:
    """Writes a study to MLflow at ``uri``, or to the root's own database if it is None.

    No method raises if MLflow is slow, full or unreachable, and only ``sync`` and ``close`` wait for it. The first
    failure is passed to ``warn``; failed writes are retried every ``retry_after_s`` seconds and by the next ``sync``.
    Trials that exist already are not written again, so a resumed search may record all of its trials.
    """

    def __init__(
        self,
        uri: str | None,
        root: Root,
        study: str,
        *,
        base_models: Sequence[str] = (),
        warn: Callable[[str], None] = _LOG.warning,
        retry_after_s: float = _RETRY_AFTER_S,
    ) -> None:
        self._uri, self._root, self._study = uri, root, check_name(study, "study")
        self._base_models = tuple(base_models)
        self._warn = warn
        self._warned = False
        self._retry_after_s = retry_after_s
        self._retry_at = 0.0
        self._runs: StudyRuns | None = None
        self._answers = 0
        """Number of writes that MLflow has answered; for other threads to see whether it proceeds."""
        self.is_reachable = True
        """Whether MLflow answered what was last sent."""
        self._pending: deque[_Write] = deque()
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        """Started with the first order, since MLflow takes seconds to import."""

    @property
    def unwritten(self) -> int:
        """Number of pending writes."""
        return len(self._pending) + self._orders.qsize()

    def record(self, record: TrialRecord) -> None:
        """Schedule a finished trial for writing; running trials are ignored. Returns immediately."""
        if record.state is not State.RUNNING:
            self._put(_Order((partial(StudyRuns.write, record=record),)))

    def attach(self, path: Path) -> None:
        """Schedule a text file, as it is now, for attachment to the parent run. Returns immediately."""
        name, text = path.name, path.read_text(encoding="utf-8")
        self._put(_Order((partial(StudyRuns.attach, name=name, text=text),)))

    def sync(self, records: Iterable[TrialRecord], *, patience_s: float | None = None) -> int:
        """Write these and all pending trials that MLflow does not have; return the number of trials written.

        Waits as long as MLflow proceeds, and no longer than ``patience_s`` for its next answer, by default
        ``PATIENCE_S``, or ``LOCAL_PATIENCE_S`` without a server.
        """
        finished = [record for record in records if record.state is not State.RUNNING]
        return self._submit(tuple(partial(StudyRuns.write, record=record) for record in finished), patience_s)

    def close(self, patience_s: float | None = None, *, ending: Ending = Ending.FINISHED) -> None:
        """Write what is pending, set how the search ended, and stop; waits as ``sync``, but not if that was in vain."""
        writes = (partial(StudyRuns.finish, ending=ending),)
        self._submit(writes, patience_s if self.is_reachable else 0.0, last=True)

    def _submit(self, writes: tuple[_Write, ...], patience_s: float | None, *, last: bool = False) -> int:
        if patience_s is None:
            patience_s = LOCAL_PATIENCE_S if self._uri is None else PATIENCE_S
        if self._thread is not None and not self._thread.is_alive():
            return 0
        answer: Future[int] = Future()
        self._put(_Order(writes, answer, last))
        while True:
            answers = self._answers
            try:
                return answer.result(patience_s)
            except TimeoutError:
                if answers == self._answers:
                    self.is_reachable = False
                    self._warn_once(f"MLflow did not answer within {patience_s:g} s")
                    return 0

    def _put(self, order: _Order) -> None:
        """Give the thread an order; start it with the first one."""
        self._orders.put(order)
        if self._thread is None:
            # Imported here, since two threads that import the same packages can deadlock.
            prepare_environment()
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

            self._thread = threading.Thread(target=self._work, name="autoopt-mlflow", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        last = False
        while not last:
            order = self._next_order()
            if order is not None:
                self._pending += order.writes
                last = order.last
            if order is not None and order.answer is not None:
                order.answer.set_result(self._write_pending())
            elif time.monotonic() >= self._retry_at:
                self._write_pending(yielding=True)

    def _next_order(self) -> _Order | None:
        """Return the next order, or None when it is time to retry failed writes."""
        try:
            return self._orders.get(timeout=max(0.0, self._retry_at - time.monotonic()) if self._pending else None)
        except queue.Empty:
            return None

    def _write_pending(self, *, yielding: bool = False) -> int:
        """Write until something fails; with ``yielding``, wait for measurements to end before each write."""
        written = 0
        while self._pending:
            if yielding:
                with measurement_gate.compute_step(give_up=lambda: not self._orders.empty()):
                    pass  # The gate is not held: a dead server takes seconds to be noticed.
            try:
                written += self._pending[0](self._connected()) is True
            except failures() as error:
                if self._runs is None or not _is_rejected(error):
                    self._retry_later(error)
                    break
                self._warn(f"{describe_failure(self._uri, self._root, error)}; it is skipped, the study goes on")
            self._pending.popleft()
            self._answers += 1
            self.is_reachable = True
        return written

    def _connected(self) -> StudyRuns:
        if self._runs is None:
            runs = StudyRuns(self._uri, self._root, self._study, self._base_models)
            runs.reopen()
            self._runs = runs
            self._answers += 1
        return self._runs

    def _retry_later(self, error: Exception) -> None:
        # The effect of the failed call is unknown: list the existing runs again before the next write.
        self._runs, self.is_reachable = None, False
        self._retry_at = time.monotonic() + self._retry_after_s
        self._warn_once(describe_failure(self._uri, self._root, error))

    def _warn_once(self, problem: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(
                f"{problem}; the study goes on, and its trials are written when MLflow answers again, at the latest by "
                f"'autoopt sync {self._study}{self._root.as_option()}'"
            )


def _is_rejected(error: Exception) -> bool:
    """Whether MLflow works but rejects this one write."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.get_http_status_code() == 400
