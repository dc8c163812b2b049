"""The stand-in for a network that a student replaced: holds the student's arrays as its state."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.stand_ins.contract import architecture_of
from autoopt.strategies.students.arrays import Arrays, shapes_of, weight_count
from autoopt.strategies.students.reader import open_reader

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StudentModel(nn.Module):
    """Answers texts with the NumPy code that serves them; it takes no tokens and cannot be trained."""

    def __init__(self, config: Any, architecture: str, kind: str, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.architecture = architecture
        self.kind, self.settings = kind, dict(settings)
        self.all_tied_weights_keys: dict[str, str] = {}
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array.copy()))
        self._reader: Any = None

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def arrays(self) -> Arrays:
        """The arrays by name, without copies."""
        return {name: buffer.numpy() for name, buffer in self.named_buffers()}

    @property
    def reads_pairs(self) -> bool:
        return bool(self.settings["pairs"])

    def tie_weights(self) -> None:
        """Do nothing: there are no tied weights."""

    def structure(self) -> str:
        return json.dumps([self.kind, shapes_of(self.arrays), self.settings])

    def parameter_count(self) -> int:
        return weight_count(self.arrays)

    def timed(self, *, texts: bool) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()

    def text_logits(self, texts: Sequence[str], seconds: Sequence[str] | None = None) -> NDArray[Any]:
        return self._open().text_logits(texts, seconds)  # type: ignore[no-any-return]

    def sample_text(self, tokens: int, chance: random.Random) -> str:
        return str(self._open().sample_text(tokens, chance))

    def forward(self, **_: Any) -> Any:
        """Raise ``ValueError``."""
        raise ValueError("a student reads texts, and was given tokens")

    def _open(self) -> Any:
        if self._reader is None:
            self._reader = open_reader(self.kind, self.arrays, self.settings)
        return self._reader

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._reader = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the reader, whose tokenizer would be copied."""
        return {**self.__dict__, "_reader": None}


def with_student(
    candidate: Candidate, event: str, *, kind: str, arrays: Arrays, settings: Mapping[str, Any]
) -> Candidate:
    """Return the candidate with the student in place of its network."""
    model: Any = StudentModel(candidate.model.config, architecture_of(candidate.model), kind, arrays, settings).eval()
    edit = {"strategy": kind, "arrays": shapes_of(arrays), "settings": dict(settings)}
    return candidate.evolve(event, model=model, edits=(*candidate.edits, edit))


def empty_student(model: Any, edit: Mapping[str, Any]) -> Any:
    """Return the student that an edit describes, to be loaded."""
    import numpy as np

    arrays = {name: np.zeros(shape, dtype) for name, (dtype, shape) in edit["arrays"].items()}
    return StudentModel(model.config, architecture_of(model), edit["strategy"], arrays, edit["settings"])
