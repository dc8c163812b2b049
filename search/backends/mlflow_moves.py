"""A root that was moved or is mounted elsewhere: the addresses of artifacts in its MLflow database are mended.

MLflow keeps absolute addresses alone. They are rewritten before the database is used, in one transaction, so that plain
MLflow finds the files as well. While a search writes to a root, use that root under one path.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from autoopt.search.paths import Root

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns of MLflow's tables that hold addresses below the folder of the artifacts."""


def mend_addresses(root: Root) -> None:
    """Let the database under the root point to the artifacts under the root; a database that is read-only is left."""
    if not root.mlflow_database.is_file():
        return
    current = root.mlflow_artifacts.absolute().as_uri()
    with closing(sqlite3.connect(root.mlflow_database, timeout=60, isolation_level=None)) as connection:
        if not list(_stale(connection, root)):
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            for old in list(_stale(connection, root)):
                for table, column in _ADDRESSES:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (current, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if "readonly" not in str(error):
                raise


def current_address(address: str, root: Root) -> str:
    """Return where an artifact of the root's own database is now, for a database that could not be mended."""
    _, separator, below = address.rpartition(f"/{root.mlflow_artifacts.name}/")
    if not separator or not address.startswith("file:"):
        return address
    moved = root.mlflow_artifacts.absolute() / url2pathname(below)
    return moved.as_uri() if moved.exists() else address


def _stale(connection: sqlite3.Connection, root: Root) -> Iterator[str]:
    """Yield the addresses of studies' artifacts that are not the folder under the root."""
    known = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {table for table, _ in _ADDRESSES} <= known:
        return
    here = root.mlflow_artifacts.absolute()
    for (address,) in connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall():
        if not str(address).startswith("file:") or not address.endswith(f"/{here.name}") or address == here.as_uri():
            continue
        folder = Path(url2pathname(urlsplit(address).path))
        if not (folder.exists() and here.exists() and folder.samefile(here)):
            yield address
