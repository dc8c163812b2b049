"""Pull a model from the registry into a folder, verified against its checksums before the folder exists."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any, Final

from autoopt.search.backends.mlflow_client import open_client, reaching, tracking_uri
from autoopt.search.backends.mlflow_moves import current_address
from autoopt.search.backends.mlflow_registry import RegisteredVersion, registered
from autoopt.search.names import ModelReference
from autoopt.search.paths import Root
from autoopt.strategies.errors import CorruptArtefact, UnknownName, UsageError, did_you_mean
from autoopt.strategies.saving import DESCRIPTION, MANIFEST, verify
from autoopt.strategies.system.files import install_folder

_DATA: Final = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja"})
"""Suffixes of the files of a saved candidate: weights, descriptions, tokenizers."""
_PICKLES: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


def pull(reference: str, destination: Path, *, root: Root, uri: str | None, force: bool = False) -> Path:
    """Download ``name@alias``, ``name/version`` or ``name`` (its champion) and return ``destination``.

    Only the saved candidate is kept. ``destination`` is unchanged if anything fails. An existing folder is replaced
    only with ``force``, and only if it is empty or holds a saved candidate. Raises ``UnknownName``, ``UsageError``,
    ``CorruptArtefact``, ``EnvironmentProblem``.
    """
    model = ModelReference.parse(reference)
    destination = destination.absolute()
    check_destination(destination, force=force)
    version = find_version(model, uri=uri, root=root)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as work:
        with reaching(uri, root):
            downloaded = _download(version, Path(work) / "new", uri=uri, root=root)
        candidate = _saved_candidate(downloaded, model)
        _check_files(candidate)
        verify(candidate)
        if hashlib.sha256((candidate / MANIFEST).read_bytes()).hexdigest() != version.digest:
            raise CorruptArtefact(f"the {MANIFEST} of {model} is not the one that was registered; nothing was kept")
        install_folder(candidate, destination)
    return destination


def find_version(model: ModelReference, *, uri: str | None, root: Root) -> RegisteredVersion:
    """Return the referenced version; raises ``UnknownName``, which lists the existing aliases and versions."""
    versions = registered(uri=uri, root=root, name=model.name)
    for version in versions:
        if model.version == version.version or (model.version is None and model.alias in version.aliases):
            return version
    aliases = {alias: version.version for version in versions for alias in version.aliases}
    if model.version is not None:
        there = ", ".join(str(version.version) for version in versions) or "none"
        raise UnknownName(f"'{model.name}' has no version {model.version}; there are {there}")
    there = ", ".join(f"{alias} (version {number})" for alias, number in sorted(aliases.items())) or "none"
    nearest = did_you_mean(model.alias, aliases) or ";"
    raise UnknownName(f"'{model.name}' has no alias '{model.alias}'{nearest} there are {there}")


def check_destination(destination: Path, *, force: bool) -> None:
    """Raise ``UsageError`` if a model may not be put there: no folder, or one that is not empty."""
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise UsageError(f"{destination} is not a folder; give one that does not exist yet")
    if not destination.exists() or not any(destination.iterdir()):
        return
    if not force:
        raise UsageError(f"{destination} is not empty; give another folder, or --force to replace the model in it")
    if not (destination / DESCRIPTION).is_file():
        raise UsageError(f"{destination} holds no saved model, so --force does not replace it; give another folder")


def _download(version: RegisteredVersion, work: Path, *, uri: str | None, root: Root) -> Path:
    client: Any = open_client(uri, root)
    from mlflow.artifacts import download_artifacts

    # Not "models:/name/version": MLflow resolves that at the process-wide address, not at the client's.
    source = client.get_model_version_download_uri(version.name, str(version.version))
    if source.startswith("models:/"):
        source = client.get_logged_model(source.removeprefix("models:/")).artifact_location
    if uri is None:
        source = current_address(source, root)
    return Path(download_artifacts(artifact_uri=source, dst_path=str(work), tracking_uri=tracking_uri(uri, root)))


def _saved_candidate(downloaded: Path, model: ModelReference) -> Path:
    manifests = list(downloaded.rglob(MANIFEST))
    if len(manifests) != 1:
        raise CorruptArtefact(f"{model} holds {len(manifests)} saved candidates instead of one")
    return manifests[0].parent


def _check_files(candidate: Path) -> None:
    """Raise ``CorruptArtefact`` for any file that is not data, judged by name and content."""
    for path in sorted(candidate.iterdir()):
        if path.is_symlink() or not path.is_file() or path.suffix not in _DATA or _looks_like_pickle(path):
            raise CorruptArtefact(
                f"the model holds '{path.name}', which is not a safetensors, JSON or tokenizer file; nothing was kept"
            )


def _looks_like_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    if path.suffix == ".safetensors":
        return start[8:9] != b"{"  # The first eight bytes are a length and arbitrary.
    return start.startswith(_PICKLES)
