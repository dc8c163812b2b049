"""The registry: verified models of a front as versions of one registered model, with aliases."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.objectives.measurement import Measurement
from autoopt.search.backends.mlflow_client import artifact_location, ensure_experiment, open_client, reaching
from autoopt.search.backends.mlflow_packaging import upload_candidate
from autoopt.search.backends.mlflow_runs import Kind, ensure_parent_run, search_all
from autoopt.search.names import check_name
from autoopt.search.paths import Root
from autoopt.strategies.errors import UnknownName, UsageError, did_you_mean
from autoopt.strategies.saving import MANIFEST, verify
from autoopt.strategies.system.failpoints import failpoint

_ALIAS_ATTEMPTS = 4


@dataclass(frozen=True)
class VerifiedModel:
    """A model of the front, measured again from its saved folder."""

    trial: int
    folder: Path
    """Written by ``strategies.saving.save``."""
    recipe: str
    measurements: Mapping[str, Measurement]
    base_model: str = ""
    """Name of the base model in the experiment file."""

    @property
    def digest(self) -> str:
        """SHA-256 of the folder's manifest; models with the same digest are identical, file by file."""
        return hashlib.sha256((self.folder / MANIFEST).read_bytes()).hexdigest()


@dataclass(frozen=True)
class RegisteredVersion:
    """A registry version created by autoopt."""

    name: str
    version: int
    trial: int
    recipe: str
    digest: str
    aliases: tuple[str, ...]
    measurements: Mapping[str, Measurement]


def register_front(
    *, uri: str | None, root: Root, study: str, models: Sequence[VerifiedModel], aliases: Mapping[str, int]
) -> list[RegisteredVersion]:
    """Register each model as a version of the model ``study``, then set the aliases, a mapping of alias to trial.

    No alias is set before all versions exist. Idempotent: a model whose digest is registered keeps its version, with
    updated measurements; an interrupted registration is resumed. Returns all versions, the oldest first. Raises
    ``CorruptArtefact`` for a folder that does not match its checksums, ``EnvironmentProblem`` if MLflow fails.
    """
    unknown = {alias: trial for alias, trial in aliases.items() if trial not in {model.trial for model in models}}
    if unknown:
        raise UsageError(f"no verified model for {unknown}; there are {sorted(model.trial for model in models)}")
    for name, what in ((study, "study"), *((alias, "alias") for alias in aliases)):
        check_name(name, what)
    for model in models:
        verify(model.folder)
    with reaching(uri, root):
        client = open_client(uri, root)
        experiment_id = ensure_experiment(client, study, artifact_location(uri, root))
        parent_id = ensure_parent_run(client, experiment_id, study)
        _ensure_registered_model(client, study)
        registered_digests = {version.digest: version for version in _versions(client, study)}
        numbers = {digest: version.version for digest, version in registered_digests.items()}
        for model in models:
            if version := registered_digests.get(model.digest):
                _update_measurements(client, experiment_id, parent_id, version, model)
            elif model.digest not in numbers:
                numbers[model.digest] = _register(client, experiment_id, parent_id, study, model)
        failpoint("before-alias")
        version_of = {model.trial: numbers[model.digest] for model in models}
        for alias, trial in aliases.items():
            point_alias(client, study, alias, version_of[trial])
        return _versions(client, study)


def registered(*, uri: str | None, root: Root, name: str) -> list[RegisteredVersion]:
    """Return the versions of a registered model, the oldest first; raises ``UnknownName``, which lists the models."""
    check_name(name, "model")
    with reaching(uri, root):
        # Reading must not create a database.
        client = open_client(uri, root) if uri is not None or root.mlflow_database.exists() else None
        names = [] if client is None else [model.name for model in client.search_registered_models()]
        if client is None or name not in names:
            there = f"registered are {', '.join(names)}" if names else "none is registered yet"
            raise UnknownName(f"'{name}' is not a registered model{did_you_mean(name, names) or ';'} {there}")
        return _versions(client, name)


def promote(name: str, *, uri: str | None, root: Root, trial: int, alias: str) -> RegisteredVersion:
    """Point ``alias`` to the newest version of a trial; raises ``UnknownName``, which lists the registered trials."""
    versions = registered(uri=uri, root=root, name=name)
    of_trial = [version for version in versions if version.trial == trial]
    if not of_trial:
        there = ", ".join(str(number) for number in sorted({version.trial for version in versions})) or "none"
        raise UnknownName(f"trial {trial} of '{name}' is not registered; registered are {there}")
    with reaching(uri, root):
        client = open_client(uri, root)
        point_alias(client, name, check_name(alias, "alias"), of_trial[-1].version)
        return next(version for version in _versions(client, name) if version.version == of_trial[-1].version)


def point_alias(client: Any, name: str, alias: str, version: int) -> None:
    """Point ``alias`` to a version. Retried, since of two concurrent writers of a new alias one is rejected."""
    from mlflow.exceptions import MlflowException

    for attempt in range(_ALIAS_ATTEMPTS):
        try:
            if str(client.get_registered_model(name).aliases.get(alias)) != str(version):
                client.set_registered_model_alias(name, alias, str(version))
            return
        except MlflowException:
            if attempt == _ALIAS_ATTEMPTS - 1:
                raise
            time.sleep(0.1 * 2**attempt)


def _versions(client: Any, name: str) -> list[RegisteredVersion]:
    # A search returns versions without aliases; only the model has them.
    by_alias = client.get_registered_model(name).aliases
    versions = []
    for version in client.search_model_versions(f"name = '{name}'"):
        tags = version.tags
        if "autoopt.trial" not in tags:
            continue
        measurements = json.loads(tags["autoopt.measurements"])
        versions.append(
            RegisteredVersion(
                name=name,
                version=int(version.version),
                trial=int(tags["autoopt.trial"]),
                recipe=tags["autoopt.recipe"],
                digest=tags["autoopt.manifest_sha256"],
                aliases=tuple(
                    sorted(alias for alias, number in by_alias.items() if str(number) == str(version.version))
                ),
                measurements={key: Measurement.from_json(fields) for key, fields in measurements.items()},
            )
        )
    return sorted(versions, key=lambda item: item.version)


def _ensure_registered_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=f"The front of the study {name}, found by autoopt.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _register(client: Any, experiment_id: str, parent_id: str, study: str, model: VerifiedModel) -> int:
    model_id, run_id = _ensure_logged_model(client, experiment_id, parent_id, study, model)
    failpoint("after-upload")
    version = client.create_model_version(
        study,
        # Not "models:/id": a local registry resolves that at the process-wide address, not at the client's.
        source=client.get_logged_model(model_id).artifact_location,
        run_id=run_id,
        model_id=model_id,
        description=model.recipe,
        tags={
            "autoopt.trial": str(model.trial),
            "autoopt.recipe": model.recipe,
            "autoopt.base_model": model.base_model,
            "autoopt.manifest_sha256": model.digest,
            **_measurement_tags(model.measurements, model.measurements),
        },
    )
    failpoint("after-version")
    # The page of the logged model shows its version only with this tag.
    client.set_logged_model_tags(
        model_id, {"mlflow.modelVersions": json.dumps([{"name": study, "version": version.version}])}
    )
    return int(version.version)


def _measurement_tags(everything: Mapping[str, Measurement], new: Mapping[str, Measurement]) -> dict[str, str]:
    """Return one tag with all measurements as JSON, and one readable tag for each new measurement."""
    document = json.dumps({name: item.to_json() for name, item in everything.items()})
    return {
        "autoopt.measurements": document,
        **{name: f"{item.value:.6g} {item.unit}".strip() for name, item in new.items()},
    }


def _update_measurements(
    client: Any, experiment_id: str, parent_id: str, version: RegisteredVersion, model: VerifiedModel
) -> None:
    """Add new measurements to a registered version, such as its spread over seeds."""
    new = {name: item for name, item in model.measurements.items() if version.measurements.get(name) != item}
    if not new:
        return
    model_id, run_id = _ensure_logged_model(client, experiment_id, parent_id, version.name, model)
    # The tag with all measurements is set last: an interrupted update is then repeated.
    _log_measurements(client, run_id, model_id, new)
    tags = _measurement_tags({**version.measurements, **new}, new)
    for name, value in reversed(tags.items()):
        client.set_model_version_tag(version.name, str(version.version), name, value)


def _ensure_logged_model(
    client: Any, experiment_id: str, parent_id: str, study: str, model: VerifiedModel
) -> tuple[str, str]:
    """Return the ids of the uploaded model and of its run; both are created if absent."""
    # A filter for READY matches nothing, since the database stores the status as a number.
    for logged in client.search_logged_models(
        [experiment_id], filter_string=f"tags.`autoopt.manifest_sha256` = '{model.digest}'"
    ):
        if logged.status == "READY":
            return logged.model_id, logged.source_run_id
        client.delete_logged_model(logged.model_id)  # Its upload was interrupted.
    run_id = _verification_run(client, experiment_id, parent_id, study, model)
    tags = {"autoopt.study": study, "autoopt.trial": str(model.trial), "autoopt.manifest_sha256": model.digest}
    model_id = upload_candidate(client, experiment_id, run_id, model.folder, name=f"trial-{model.trial}", tags=tags)
    _log_measurements(client, run_id, model_id, model.measurements)
    client.set_terminated(run_id, "FINISHED")
    client.finalize_logged_model(model_id, "READY")
    return model_id, run_id


def _verification_run(client: Any, experiment_id: str, parent_id: str, study: str, model: VerifiedModel) -> str:
    """Return the id of the verification run, which keeps verified numbers apart from those of the search."""
    tags = {
        "mlflow.parentRunId": parent_id,
        "autoopt.kind": Kind.VERIFICATION.value,
        "autoopt.study": study,
        "autoopt.trial": str(model.trial),
        "autoopt.manifest_sha256": model.digest,
    }
    for run in search_all(client, experiment_id, **tags):
        return str(run.info.run_id)
    return str(client.create_run(experiment_id, run_name=f"trial {model.trial} verified", tags=tags).info.run_id)


def _log_measurements(client: Any, run_id: str, model_id: str, measurements: Mapping[str, Measurement]) -> None:
    from mlflow.entities import Metric

    now_ms = time.time_ns() // 1_000_000
    values: dict[str, float] = {}
    for name, item in measurements.items():
        values |= {name: item.value, f"{name}_low": item.low, f"{name}_high": item.high}
    client.log_batch(
        run_id, metrics=[Metric(name, value, now_ms, 0, model_id=model_id) for name, value in values.items()]
    )
