"""Databases of studies: opened, asked for what they hold, and tried again where they are busy. Not here: one study."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from autoopt.strategies.errors import EnvironmentProblem, UnknownName, did_you_mean

if TYPE_CHECKING:
    import sqlite3

    import optuna

Result = TypeVar("Result")

_RETRY_SECONDS = (0.1, 0.5, 2.0, 8.0, 30.0)


def study_names(url: str) -> list[str]:
    """Names of all studies in the database, in alphabetical order."""
    optuna = quiet_optuna()
    return sorted(optuna.get_all_study_names(storage=storage_at(url)))


def database_url(path: Path) -> str:
    """The URL of a local database file."""
    return f"sqlite:///{path}"


def existing(url: str, name: str) -> optuna.Study:
    """Open a study that is there; raises ``UnknownName`` where none has this name."""
    optuna = quiet_optuna()
    try:
        return optuna.load_study(study_name=name, storage=storage_at(url))  # type: ignore[no-any-return]
    except KeyError:
        names = study_names(url)
        listed = f" There are: {', '.join(names)}." if names else " There is none yet: 'autoopt search' makes one."
        raise UnknownName(f"there is no study '{name}'{did_you_mean(name, names)}{listed}") from None


@cache
def quiet_optuna() -> Any:
    """Optuna itself, imported late and told to print errors only."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def storage_at(url: str) -> Any:
    """Open the database, made where it is a file; raises ``EnvironmentProblem`` where it cannot be reached."""
    import sqlalchemy

    from autoopt.search.backends.optuna_rows import WholeTrials

    quiet_optuna()
    local = url.startswith("sqlite")
    if local:
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    # A server that was set up in the C locale names no encoding, and would answer in bytes.
    connecting = {"timeout": 60} if local else {"connect_timeout": 10, "client_encoding": "utf8"}
    arguments = {"connect_args": connecting, "pool_pre_ping": True}
    try:
        logging.getLogger("alembic").setLevel(logging.ERROR)
        storage = WholeTrials(url, engine_kwargs=arguments)
        if local:
            sqlalchemy.event.listen(storage.engine, "connect", _journal_ahead)
            storage.engine.dispose()  # Connections from here on are new ones.
        return storage
    except (sqlalchemy.exc.SQLAlchemyError, ModuleNotFoundError) as error:
        shown = sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EnvironmentProblem(
            f"the study database {shown} cannot be opened ({cause}); check that it runs and that the account may use it"
        ) from None


def _journal_ahead(connection: sqlite3.Connection, _: object) -> None:
    """Readers and the writer do not wait for each other, and a commit not for the disk.

    Nothing is lost where a process dies. A power cut may take the last commits; the trials run again then.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def retried(attempt: Callable[[], Result]) -> Result:
    """Try again where the database is busy or was restarted; raises ``EnvironmentProblem`` after some forty seconds."""
    import sqlalchemy

    optuna = quiet_optuna()
    for pause in (*_RETRY_SECONDS, None):
        try:
            return attempt()
        except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.OperationalError) as error:
            if pause is None:
                raise EnvironmentProblem(f"the study database does not answer: {error}") from error
            time.sleep(pause)
    raise AssertionError("unreachable")
