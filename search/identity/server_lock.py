"""The lock of a study on a PostgreSQL server, which many machines use: an advisory lock of a connection of its own.

The server frees it when the connection ends, so within a minute of the holder's machine being lost. It is the server's
only as long as the connection is a session, which it is not behind a pooler that shares connections by transaction.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autoopt.search.identity.owner import Holder, locked_message
from autoopt.strategies.errors import EnvironmentProblem, StudyLocked

CHECK_INTERVAL_S = 5.0
"""Time between two checks that the connection still is there."""
_KEEPALIVES = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
_SERVER_KEEPALIVES = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
_LONGEST_NAME = 63
"""Bytes of an application's name that PostgreSQL keeps."""
_HOLDER = """
    SELECT activity.application_name, to_char(activity.backend_start, 'YYYY-MM-DD HH24:MI:SS')
    FROM pg_locks AS held JOIN pg_stat_activity AS activity ON activity.pid = held.pid
    WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
      AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((held.classid::bigint << 32) | held.objid::bigint) = :key
"""


def is_server_with_locks(url: str) -> bool:
    """Whether the database at this address can hold the lock."""
    return url.startswith("postgresql")


@contextmanager
def server_lock(url: str, study: str, holder: Holder) -> Iterator[None]:
    """Hold the lock of the study; raises ``StudyLocked``, which names the holder, if another process does.

    If the connection is lost, as when the server restarts, the lock is taken again from a background thread. Should
    another driver be faster, it writes itself into the study, and our next write is refused.
    """
    lock = _ServerLock(url, study, holder)
    lock.acquire()
    thread = threading.Thread(target=lock.keep, name="study-lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        lock.ended.set()
        thread.join(CHECK_INTERVAL_S)
        lock.release()


class _ServerLock:
    def __init__(self, url: str, study: str, holder: Holder) -> None:
        import sqlalchemy

        self.ended = threading.Event()
        self._key = int.from_bytes(hashlib.sha256(f"autoopt study {study}".encode()).digest()[:8], "big", signed=True)
        name = f"autoopt:{holder.process}:{holder.user}@{holder.host}".encode()[:_LONGEST_NAME]
        settings: dict[str, Any] = {
            "connect_timeout": 10,
            "client_encoding": "utf8",
            "application_name": name.decode(errors="ignore"),
            "options": _SERVER_KEEPALIVES,
            "tcp_user_timeout": 60_000,
            **_KEEPALIVES,
        }
        try:
            self._engine = sqlalchemy.create_engine(
                url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT", connect_args=settings
            )
        except ModuleNotFoundError as error:
            raise EnvironmentProblem(f"the study database needs {error.name}; pip install 'autoopt[cluster]'") from None
        self._connection: Any = None

    def acquire(self) -> None:
        """Take the lock. Raises ``StudyLocked``, and ``EnvironmentProblem`` if the server cannot be reached."""
        import sqlalchemy

        try:
            if not self._try():
                raise StudyLocked(locked_message(self._describe_holder()))
        except sqlalchemy.exc.SQLAlchemyError as error:
            self.release()
            shown = self._engine.url.render_as_string(hide_password=True)
            cause = str(error).strip().splitlines()[0]
            raise EnvironmentProblem(
                f"the study database {shown} cannot be opened ({cause}); check that it runs and that the account may "
                "use it"
            ) from None
        except StudyLocked:
            self.release()
            raise

    def keep(self) -> None:
        """Take the lock again whenever its connection is lost, until ``ended`` is set."""
        import sqlalchemy

        while not self.ended.wait(CHECK_INTERVAL_S):
            try:
                if self._connection is None:
                    self._take_again()
                else:
                    self._connection.execute(sqlalchemy.text("SELECT 1"))
            except sqlalchemy.exc.SQLAlchemyError:
                self.release()

    def release(self) -> None:
        """Close the connection, which frees the lock."""
        import sqlalchemy

        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                connection.invalidate()
            connection.close()

    def _take_again(self) -> None:
        if not self._try():
            self.release()

    def _try(self) -> bool:
        import sqlalchemy

        self._connection = self._engine.connect()
        statement = sqlalchemy.text("SELECT pg_try_advisory_lock(:key)")
        return bool(self._connection.execute(statement, {"key": self._key}).scalar_one())

    def _describe_holder(self) -> str:
        import sqlalchemy

        row = self._connection.execute(sqlalchemy.text(_HOLDER), {"key": self._key}).first()
        if row is None or not row[0].startswith("autoopt:"):
            return "another process"
        _, process, user = row[0].split(":", maxsplit=2)
        return f"process {process} of {user} since {row[1]}"
