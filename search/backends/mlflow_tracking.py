"""The search as MLflow sees it, written from a background thread that never stops or delays the search."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from autoopt.search.backends.mlflow_client import describe_failure, failures, prepare_environment
from autoopt.search.backends.mlflow_names import check_name
from autoopt.search.backends.mlflow_runs import Ending, StudyRuns
from autoopt.search.paths import Root
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.system import measurement_gate

_LOG = logging.getLogger(__name__)
_RETRY_AFTER_S = 30.0

_Errand: TypeAlias = Callable[[StudyRuns], object]
"""Writes one thing; returns True where that was a trial that MLflow lacked."""


@dataclass(frozen=True)
class _Order:
    """What the thread is handed: errands to run, and, where somebody waits, a place for how many trials it wrote."""

    errands: tuple[_Errand, ...]
    answer: Future[int] | None = None
    last: bool = False


class MlflowTracker:
    """Writes a study into MLflow: at ``uri``, or into the root's own database where it is None.

    No method raises for an MLflow that is slow, full or away, and none but ``sync`` and ``close`` waits for it. The
    first failure is told to ``warn``; what was not written is tried again every ``retry_after_s`` seconds, and by the
    next ``sync``. A trial that is there already is not written again, so a resumed search may record all it has.
    """

    def __init__(
        self,
        uri: str | None,
        root: Root,
        study: str,
        *,
        warn: Callable[[str], None] = _LOG.warning,
        retry_after_s: float = _RETRY_AFTER_S,
    ) -> None:
        # Imported here and not by the thread: two threads that import the same packages trip over each other.
        prepare_environment()
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

        self._uri, self._root, self._study = uri, root, check_name(study, "study")
        self._warn = warn
        self._warned = False
        self._retry_after_s = retry_after_s
        self._retry_at = 0.0
        self._runs: StudyRuns | None = None
        self._pending: deque[_Errand] = deque()
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="autoopt-mlflow", daemon=True)
        self._thread.start()

    @property
    def unwritten(self) -> int:
        """How many things wait to be written."""
        return len(self._pending) + self._orders.qsize()

    def record(self, record: TrialRecord) -> None:
        """Have a finished trial written; one that still runs is left for later. Returns at once."""
        if record.state is not State.RUNNING:
            self._orders.put(_Order((partial(StudyRuns.write, record=record),)))

    def attach(self, path: Path) -> None:
        """Have a text file, as it is now, kept with the parent run: the resolved experiment. Returns at once."""
        name, text = path.name, path.read_text(encoding="utf-8")
        self._orders.put(_Order((partial(StudyRuns.attach, name=name, text=text),)))

    def sync(self, records: Iterable[TrialRecord], *, timeout_s: float = 120.0) -> int:
        """Write whatever MLflow lacks of these and of all before, and return how many trials were written."""
        finished = [record for record in records if record.state is not State.RUNNING]
        return self._ask(tuple(partial(StudyRuns.write, record=record) for record in finished), timeout_s=timeout_s)

    def close(self, timeout_s: float = 30.0, *, ending: Ending = Ending.FINISHED) -> None:
        """Write what is left, say how the search ended, and stop; after ``timeout_s`` without waiting for it."""
        self._ask((partial(StudyRuns.finish, ending=ending),), timeout_s=timeout_s, last=True)

    def _ask(self, errands: tuple[_Errand, ...], *, timeout_s: float, last: bool = False) -> int:
        if not self._thread.is_alive():
            return 0
        answer: Future[int] = Future()
        self._orders.put(_Order(errands, answer, last))
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            self._warn_once(f"MLflow did not answer within {timeout_s:g} s")
            return 0

    def _work(self) -> None:
        last = False
        while not last:
            order = self._next_order()
            if order is not None:
                self._pending += order.errands
                last = order.last
            if order is not None and order.answer is not None:
                order.answer.set_result(self._write_pending())
            elif time.monotonic() >= self._retry_at:
                self._write_pending(aside=True)

    def _next_order(self) -> _Order | None:
        """The next order, or None where it is time to try again what failed."""
        try:
            return self._orders.get(timeout=max(0.0, self._retry_at - time.monotonic()) if self._pending else None)
        except queue.Empty:
            return None

    def _write_pending(self, *, aside: bool = False) -> int:
        """Write what waits, until something fails; ``aside`` gives way to measurements, where nobody waits for it."""
        written = 0
        while self._pending:
            if aside:
                with measurement_gate.compute_step():
                    pass  # The gate is not held: a dead server takes seconds to be noticed.
            try:
                written += self._pending[0](self._connected()) is True
            except failures() as error:
                if self._runs is None or not _refused(error):
                    self._give_up_for_now(error)
                    break
                self._warn(f"{describe_failure(self._uri, self._root, error)}; this is left out, the study goes on")
            self._pending.popleft()
        return written

    def _connected(self) -> StudyRuns:
        if self._runs is None:
            runs = StudyRuns(self._uri, self._root, self._study)
            runs.reopen()
            self._runs = runs
        return self._runs

    def _give_up_for_now(self, error: Exception) -> None:
        # What the failed call did is not known: look again at what is there before anything else is written.
        self._runs = None
        self._retry_at = time.monotonic() + self._retry_after_s
        self._warn_once(describe_failure(self._uri, self._root, error))

    def _warn_once(self, problem: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"{problem}; the study goes on, and what MLflow lacks is written when it answers again")


def _refused(error: Exception) -> bool:
    """True where MLflow is well and this one thing is what it will not take."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.get_http_status_code() == 400
