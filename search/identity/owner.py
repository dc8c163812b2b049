"""Who searches a study and whose it is, as the study's database tells other drivers."""

from __future__ import annotations

import getpass
import os
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoopt.search.paths import StudyFolder
from autoopt.strategies.errors import ExperimentError
from autoopt.strategies.system.files import write_whole


@dataclass(frozen=True)
class Holder:
    """The process that searches a study."""

    user: str
    host: str
    process: int
    since: str
    token: str
    """Differs for every search, also of one process."""

    @classmethod
    def here(cls) -> Holder:
        """Return this process as the holder of a new search."""
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(_user(), socket.gethostname(), os.getpid(), started, uuid.uuid4().hex)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe_holder(fields: object) -> str:
    """Describe a holder from its JSON, of earlier versions too; ``another process`` if it is unknown."""
    if not isinstance(fields, Mapping) or not {"process", "host", "since"} <= fields.keys():
        return "another process"
    user = f" of {fields['user']}" if "user" in fields else ""
    return f"process {fields['process']}{user} on {fields['host']} since {fields['since']}"


def locked_message(holder: str) -> str:
    """Return the message for a study that another process searches."""
    return f"this study is being searched by {holder}; wait for it, or end it, then run the same command"


@dataclass(frozen=True)
class Owner:
    """Whose study it is."""

    id: str
    """Also in the study's folder, so that the folder may be moved, and searched by several people."""
    user: str
    """``user@host`` of the first search."""
    folder: str
    """The study's folder when it was first searched."""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def owner_of(study: str, stored: Mapping[str, str] | None, folder: StudyFolder, *, trials: int) -> Owner:
    """Return the owner of a study in the database, which is a new one if it has none.

    ``stored`` is the owner in the database. Raises ``ExperimentError`` if the study is not that of this folder.
    """
    user, resumes, own_id = f"{_user()}@{socket.gethostname()}", folder.experiment.is_file(), _read_id(folder.id)
    remedy = "give yours another name with --set study=NAME"
    if stored is None:
        if trials and not resumes:
            raise ExperimentError(
                f"the study database has a study '{study}' with {trials} trials, whose files are not in "
                f"{folder.path}; {remedy}"
            )
        return Owner(own_id or uuid.uuid4().hex, user, str(folder.path))
    owner = Owner(**stored)
    has_lost_id = own_id is None and resumes and (owner.user, owner.folder) == (user, str(folder.path))
    if owner.id != own_id and not has_lost_id:
        raise ExperimentError(
            f"the study '{study}' of this database belongs to {owner.user}, with its files in {owner.folder}; "
            f"the folder {folder.path} is another; {remedy}"
        )
    return owner


def write_id(owner: Owner, path: Path) -> None:
    """Leave the owner's id in the study's folder."""
    if _read_id(path) != owner.id:
        write_whole(path, f"{owner.id}\n")


def _read_id(path: Path) -> str | None:
    try:
        return uuid.UUID(path.read_text(encoding="utf-8").strip()).hex
    except (FileNotFoundError, ValueError):
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # In a container the user may have no name.
        return str(os.getuid())
