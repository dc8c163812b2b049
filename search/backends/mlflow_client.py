"""The one way to reach MLflow: quiet, without telemetry, with pickle forbidden, quick to give up on a dead server."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from autoopt.search.paths import Root
from autoopt.strategies.errors import EnvironmentProblem

_ALWAYS: Final = (
    ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false"),
    # It would copy the pyproject.toml of whatever folder the command is run in into every model.
    ("MLFLOW_UV_AUTO_DETECT", "false"),
)
_UNLESS_SET: Final = (
    # By default one call to a dead server blocks for four minutes.
    ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
    ("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"),
    ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1"),
    ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
    ("MLFLOW_LOGGING_LEVEL", "CRITICAL"),
    ("MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING", "false"),
    ("GIT_PYTHON_REFRESH", "quiet"),
)


def prepare_environment() -> None:
    """Set MLflow's environment variables and hide its warnings; some count on import only, so this comes before it."""
    os.environ.update(_ALWAYS)
    for name, value in _UNLESS_SET:
        os.environ.setdefault(name, value)
    # MLflow warns about its own type hints as soon as its model format is imported; nobody who searches can mend that.
    warnings.filterwarnings("ignore", module=r"mlflow(\.|$)")


def tracking_uri(uri: str | None, root: Root) -> str:
    """Return ``uri``, or the address of the root's own database where it is None."""
    return uri or f"sqlite:///{root.mlflow_database.absolute()}"


def open_client(uri: str | None, root: Root) -> Any:
    """Return an ``MlflowClient``; the local database is made where it is absent.

    Nothing of MLflow's process-wide state is set: two clients of two addresses live side by side.
    """
    prepare_environment()
    from mlflow import MlflowClient

    if uri is None:
        root.path.mkdir(parents=True, exist_ok=True)
    address = tracking_uri(uri, root)
    return MlflowClient(tracking_uri=address, registry_uri=address)


def experiment_of(client: Any, study: str, artifacts: str | None) -> str:
    """Return the id of the study's MLflow experiment, made where it is absent and brought back where it was deleted.

    ``artifacts`` is the address below which its files go; None leaves that to the server.
    """
    found = client.get_experiment_by_name(study)
    if found is None:
        return str(client.create_experiment(study, artifact_location=artifacts))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def artifact_location(uri: str | None, root: Root) -> str | None:
    """Where the local MLflow keeps files; None for a server, which has a place of its own."""
    return root.mlflow_artifacts.absolute().as_uri() if uri is None else None


def failures() -> tuple[type[Exception], ...]:
    """What a call raises where MLflow, its database or its network fails."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError)


@contextmanager
def reaching(uri: str | None, root: Root) -> Iterator[None]:
    """Turn what MLflow raises into an ``EnvironmentProblem`` that names its address."""
    try:
        yield
    except failures() as error:
        raise EnvironmentProblem(describe_failure(uri, root, error)) from error


def describe_failure(uri: str | None, root: Root, error: Exception) -> str:
    """One line without passwords: which MLflow, and what is at the bottom of it."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    first_line = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    return without_password(f"MLflow at {tracking_uri(uri, root)} failed: {first_line[:300]}")


def without_password(text: str) -> str:
    """Return ``text`` with the credentials of every address in it hidden."""
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", text)
