"""Study databases: open them, list their studies, retry when they are busy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from autoopt.strategies.errors import DatabaseUnavailable, DiskFull, EnvironmentProblem, UnknownName, did_you_mean
from autoopt.strategies.system.disk_full import is_disk_full
from autoopt.strategies.system.files import create_once

if TYPE_CHECKING:
    import sqlite3

    import optuna

Result = TypeVar("Result")

RETRY_FOR_S = 300.0
"""How long the search waits for a database that is restarted or out of reach; trials go on meanwhile."""
LONGEST_PAUSE_S = 10.0
_CREATIONS = 3


def study_names(url: str) -> list[str]:
    """Return the names of all studies in the database, in alphabetical order."""
    optuna = quiet_optuna()
    return sorted(optuna.get_all_study_names(storage=storage_at(url)))


def database_url(path: Path) -> str:
    """Return the URL of a local database file."""
    return f"sqlite:///{path}"


def load_study(url: str, name: str) -> optuna.Study:
    """Load an existing study; raises ``UnknownName`` if there is none of this name."""
    optuna = quiet_optuna()
    try:
        return optuna.load_study(study_name=name, storage=storage_at(url))  # type: ignore[no-any-return]
    except KeyError:
        names = study_names(url)
        listed = f" There are: {', '.join(names)}." if names else " There is none yet: run 'autoopt search'."
        raise UnknownName(f"there is no study '{name}'{did_you_mean(name, names)}{listed}") from None


@cache
def quiet_optuna() -> Any:
    """Import Optuna and silence everything but its errors."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def storage_at(url: str) -> Any:
    """Open the database, and create it if it is a local file; raises ``EnvironmentProblem`` if it is unreachable."""
    import sqlalchemy

    from autoopt.search.backends.optuna_rows import TransactionalStorage

    quiet_optuna()
    local = url.startswith("sqlite")
    # A server set up in the C locale declares no encoding, and would answer in bytes.
    connection = {"timeout": 60} if local else {"connect_timeout": 10, "client_encoding": "utf8"}
    arguments = {"connect_args": connection, "pool_pre_ping": True}
    try:
        logging.getLogger("alembic").setLevel(logging.ERROR)
        if local:
            create_once(Path(url.removeprefix("sqlite:///")), _create_database)
        storage = _created_at_once(lambda: TransactionalStorage(url, engine_kwargs=arguments))
        if local:
            sqlalchemy.event.listen(storage.engine, "connect", _use_write_ahead_log)
            storage.engine.dispose()  # Applies the listener to all connections.
        return storage
    except (sqlalchemy.exc.SQLAlchemyError, ModuleNotFoundError) as error:
        if is_disk_full(error):
            raise DiskFull("no space is left on the disk of the study database; free some") from error
        shown = sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EnvironmentProblem(
            f"the study database {shown} cannot be opened ({cause}); check that it runs and that the account may use it"
        ) from None


def _create_database(work: Path) -> None:
    """Create Optuna's tables."""
    from optuna.storages import RDBStorage

    RDBStorage(f"sqlite:///{work}").engine.dispose()


def _created_at_once(create: Callable[[], Result]) -> Result:
    """Call ``create`` again if another process created the same tables meanwhile."""
    import sqlalchemy

    for _ in range(_CREATIONS):
        try:
            return create()
        except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError):
            time.sleep(1.0)
    return create()


def _use_write_ahead_log(connection: sqlite3.Connection, _: object) -> None:
    """Let readers and the writer work concurrently, and commits return before they reach the disk.

    A crash of the process loses nothing. A power failure may lose the last commits; their trials then run again.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def retried(attempt: Callable[[], Result]) -> Result:
    """Call ``attempt`` again while the database is busy, restarting or out of reach, for five minutes.

    Raises ``DatabaseUnavailable`` after that, and ``DiskFull`` at once if the database's disk is full.
    """
    import sqlalchemy

    optuna = quiet_optuna()
    given_up_at, pause_s = time.monotonic() + RETRY_FOR_S, 0.1
    while True:
        try:
            return attempt()
        except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.DBAPIError) as error:
            if is_disk_full(error):
                raise DiskFull("no space is left on the disk of the study database; free some") from error
            if not _may_pass(error):
                raise
            if time.monotonic() + pause_s >= given_up_at:
                raise DatabaseUnavailable(
                    f"the study database did not answer for {RETRY_FOR_S / 60:.0f} minutes ({_cause(error)}); check "
                    "that it runs and can be reached"
                ) from error
        time.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, 2.0 * pause_s)


def _may_pass(error: Exception) -> bool:
    """Whether the error is of the connection or the server's state rather than of the statement."""
    import sqlalchemy

    lasting = sqlalchemy.exc.IntegrityError | sqlalchemy.exc.DataError | sqlalchemy.exc.ProgrammingError
    causes = (error, error.__cause__, error.__context__)
    return not any(isinstance(cause, lasting) for cause in causes)


def _cause(error: BaseException) -> str:
    """Return the first line of the driver's message; it names the host, never the password."""
    original = getattr(error.__cause__ or error, "orig", None) or error.__cause__ or error
    return (str(original).strip().splitlines() or [type(original).__name__])[0][:200]
