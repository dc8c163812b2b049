"""MLflow clients: quiet, without telemetry or pickle, and quick to give up on a dead server."""

from __future__ import annotations

import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from autoopt.search.backends.mlflow_moves import mend_addresses
from autoopt.search.paths import Root
from autoopt.strategies.errors import EnvironmentProblem
from autoopt.strategies.system.files import create_once

_ENFORCED: Final = (
    ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false"),
    # MLflow would copy the pyproject.toml of the working directory into every model.
    ("MLFLOW_UV_AUTO_DETECT", "false"),
)
_DEFAULTS: Final = (
    # By default a call to a dead server blocks for four minutes.
    ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
    ("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"),
    ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1"),
    ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
    ("MLFLOW_LOGGING_LEVEL", "CRITICAL"),
    # "View run at" goes to stdout, with the server's address as the search sees it, which a browser may not reach.
    ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
    ("MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING", "false"),
    ("GIT_PYTHON_REFRESH", "quiet"),
)


def prepare_environment() -> None:
    """Set MLflow's environment variables and hide its warnings. Call it before MLflow is imported."""
    os.environ.update(_ENFORCED)
    for name, value in _DEFAULTS:
        os.environ.setdefault(name, value)
    # MLflow warns about its own type hints when its model format is imported; users cannot fix that.
    warnings.filterwarnings("ignore", module=r"mlflow(\.|$)")


def tracking_uri(uri: str | None, root: Root) -> str:
    """Return ``uri``, or the URI of the root's own database if it is None."""
    return uri or f"sqlite:///{root.mlflow_database.absolute()}"


def open_client(uri: str | None, root: Root) -> Any:
    """Return an ``MlflowClient``; create the local database if it does not exist, and mend one that was moved.

    MLflow's process-wide state is left alone, so clients of several servers can coexist.
    """
    prepare_environment()
    from mlflow import MlflowClient

    if uri is None:
        create_once(root.mlflow_database, _create_database)
        mend_addresses(root)
    address = tracking_uri(uri, root)
    return MlflowClient(tracking_uri=address, registry_uri=address)


def _create_database(work: Path) -> None:
    """Create MLflow's tables; on a full disk MLflow would leave a part of them that never opens."""
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=f"sqlite:///{work}", registry_uri=f"sqlite:///{work}")


def ensure_experiment(client: Any, study: str, artifacts: str | None) -> str:
    """Return the id of the study's MLflow experiment; it is created if absent and restored if deleted.

    ``artifacts`` is the URI of its files; the server decides if None.
    """
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return str(client.create_experiment(study, artifact_location=artifacts))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def artifact_location(uri: str | None, root: Root) -> str | None:
    """Return the URI of the local artifacts; None for a server, which has its own location."""
    return root.mlflow_artifacts.absolute().as_uri() if uri is None else None


def failures() -> tuple[type[Exception], ...]:
    """Return the exceptions that a call raises if MLflow, its database or its network fails."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)


@contextmanager
def reaching(uri: str | None, root: Root) -> Iterator[None]:
    """Turn failures of MLflow into an ``EnvironmentProblem`` that names its address."""
    try:
        yield
    except failures() as error:
        raise EnvironmentProblem(describe_failure(uri, root, error)) from error


def describe_failure(uri: str | None, root: Root, error: Exception) -> str:
    """Return one line without passwords: the address and the root cause."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    first_line = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    return without_password(f"MLflow at {tracking_uri(uri, root)} failed: {first_line[:300]}")


def without_password(text: str) -> str:
    """Return ``text`` with the credentials in all of its URLs hidden."""
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", text)
