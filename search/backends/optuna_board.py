"""The Optuna dashboard on a study database that it only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.search.backends.optuna_storage import quiet_optuna

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_QUERIES_ONLY = "PRAGMA query_only = ON"


def dashboard_of(url: str) -> WSGIApplication:
    """Return the dashboard as a WSGI application on an existing database."""
    import optuna_dashboard

    application: WSGIApplication = optuna_dashboard.wsgi(reading_storage(url))
    return application


def reading_storage(url: str) -> Any:
    """Open an existing database so that nothing can be written; a team's database is not changed by looking at it."""
    import sqlalchemy

    optuna = quiet_optuna()
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("postgresql"):
        arguments["execution_options"] = {"postgresql_readonly": True}
        # A server set up in the C locale declares no encoding, and would answer in bytes.
        arguments["connect_args"] = {"connect_timeout": 10, "client_encoding": "utf8"}
    storage = optuna.storages.RDBStorage(
        url, engine_kwargs=arguments, skip_compatibility_check=True, skip_table_creation=True
    )
    if url.startswith("sqlite"):
        sqlalchemy.event.listen(storage.engine, "connect", lambda connection, _: connection.execute(_QUERIES_ONLY))
        storage.engine.dispose()  # Applies the listener to all connections.
    return storage
