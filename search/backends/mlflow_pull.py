"""A model out of the registry into a folder: checked against its checksums before it is there at all."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any, Final

from autoopt.search.backends.mlflow_client import open_client, reaching, tracking_uri
from autoopt.search.backends.mlflow_names import ModelReference
from autoopt.search.backends.mlflow_registry import RegisteredVersion, registered
from autoopt.search.paths import Root
from autoopt.strategies.errors import CorruptArtefact, UnknownName, UsageError, did_you_mean
from autoopt.strategies.saving import DESCRIPTION, MANIFEST, verify
from autoopt.strategies.system.files import install_folder

_DATA: Final = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja"})
"""What a saved candidate is made of: weights, descriptions, and the files of tokenizers."""
_PICKLES: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


def pull(reference: str, destination: Path, *, root: Root, uri: str | None, force: bool = False) -> Path:
    """Download ``name@alias``, ``name/version`` or ``name`` (its champion) and return ``destination``.

    Only the saved candidate is kept. Where anything is wrong, ``destination`` is as it was. An existing folder is
    replaced only with ``force``, and only where it is empty or holds a saved candidate. Raises ``UnknownName``,
    ``UsageError``, ``CorruptArtefact``, ``EnvironmentProblem``.
    """
    wanted = ModelReference.parse(reference)
    destination = destination.absolute()
    _check_destination(destination, force=force)
    version = find_version(wanted, uri=uri, root=root)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as work:
        with reaching(uri, root):
            downloaded = _download(version, Path(work) / "new", uri=uri, root=root)
        candidate = _saved_candidate(downloaded, wanted)
        _check_files(candidate)
        verify(candidate)
        if hashlib.sha256((candidate / MANIFEST).read_bytes()).hexdigest() != version.digest:
            raise CorruptArtefact(f"the {MANIFEST} of {wanted} is not the one that was registered; nothing was kept")
        install_folder(candidate, destination)
    return destination


def find_version(wanted: ModelReference, *, uri: str | None, root: Root) -> RegisteredVersion:
    """Return the version that is meant; raises ``UnknownName`` with the aliases and versions that exist."""
    versions = registered(uri=uri, root=root, name=wanted.name)
    for version in versions:
        if wanted.version == version.version or (wanted.version is None and wanted.alias in version.aliases):
            return version
    aliases = {alias: version.version for version in versions for alias in version.aliases}
    if wanted.version is not None:
        there = ", ".join(str(version.version) for version in versions) or "none"
        raise UnknownName(f"'{wanted.name}' has no version {wanted.version}; there are {there}")
    there = ", ".join(f"{alias} (version {number})" for alias, number in sorted(aliases.items())) or "none"
    nearest = did_you_mean(wanted.alias, aliases) or ";"
    raise UnknownName(f"'{wanted.name}' has no alias '{wanted.alias}'{nearest} there are {there}")


def _check_destination(destination: Path, *, force: bool) -> None:
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise UsageError(f"{destination} is no folder; give one that is not there yet")
    if not destination.exists() or not any(destination.iterdir()):
        return
    if not force:
        raise UsageError(f"{destination} is not empty; give another folder, or --force to replace the model in it")
    if not (destination / DESCRIPTION).is_file():
        raise UsageError(f"{destination} holds no saved model, so --force does not replace it; give another folder")


def _download(version: RegisteredVersion, work: Path, *, uri: str | None, root: Root) -> Path:
    client: Any = open_client(uri, root)
    from mlflow.artifacts import download_artifacts

    # Not "models:/name/version": MLflow looks that up at the process-wide address, whatever it is told here.
    source = client.get_model_version_download_uri(version.name, str(version.version))
    if source.startswith("models:/"):
        source = client.get_logged_model(source.removeprefix("models:/")).artifact_location
    return Path(download_artifacts(artifact_uri=source, dst_path=str(work), tracking_uri=tracking_uri(uri, root)))


def _saved_candidate(downloaded: Path, wanted: ModelReference) -> Path:
    manifests = list(downloaded.rglob(MANIFEST))
    if len(manifests) != 1:
        raise CorruptArtefact(f"{wanted} holds {len(manifests)} saved candidates where one is expected")
    return manifests[0].parent


def _check_files(candidate: Path) -> None:
    """Refuse whatever is not data, by name and by content; raises ``CorruptArtefact``."""
    for path in sorted(candidate.iterdir()):
        if path.is_symlink() or not path.is_file() or path.suffix not in _DATA or _looks_like_pickle(path):
            raise CorruptArtefact(
                f"the model holds '{path.name}', which is no safetensors, JSON or tokenizer file; nothing was kept"
            )


def _looks_like_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    if path.suffix == ".safetensors":
        return start[8:9] != b"{"  # Its first eight bytes are a length, and may be any.
    return start.startswith(_PICKLES)
