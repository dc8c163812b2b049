"""Load a saved candidate to answer texts; a student is loaded without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoopt.strategies.candidate import Candidate, TaskView
from autoopt.strategies.errors import CorruptArtefact
from autoopt.strategies.saving import EDITED_WEIGHTS, describe, load, verify
from autoopt.strategies.students.reader import KINDS, open_reader


def load_for_serving(folder: Path, *, open_task: Callable[[Mapping[str, Any]], TaskView]) -> Candidate:
    """Load what ``saving.save`` wrote, as ``saving.load`` does. A student's ``model`` is what answers texts in NumPy.

    It has no tokenizer besides its own. Raises ``ModelError`` if ``folder`` holds no saved candidate, and
    ``CorruptArtefact`` if a file differs from what was written.
    """
    edits = describe(folder)["edits"]
    return _load_student(folder, open_task) if is_student(edits) else load(folder, open_task=open_task)


def is_student(edits: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the last of a saved candidate's edits put a student in the place of the network."""
    return bool(edits) and edits[-1]["strategy"] in KINDS


def _load_student(folder: Path, open_task: Callable[[Mapping[str, Any]], TaskView]) -> Candidate:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    verify(folder)
    description = describe(folder)
    edit = description["edits"][-1]
    path = folder / EDITED_WEIGHTS
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CorruptArtefact(f"{path} cannot be read: {error}") from error
    model: Any = open_reader(edit["strategy"], arrays, edit["settings"])
    tokenizer: Any = None
    return Candidate(
        model=model,
        tokenizer=tokenizer,
        task=open_task(description["task"]),
        edits=tuple(description["edits"]),
        history=tuple(description["history"]),
    )
