"""The base models of a study after the first, each opened when a recipe needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.target import Calls, Target
from autoopt.search.experiment.experiment import Experiment
from autoopt.search.experiment.opening import target_of
from autoopt.search.paths import StudyFolder
from autoopt.search.trial.stage_store import origin
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import ModelError
from autoopt.strategies.stand_ins.structure import weights_digest
from autoopt.strategies.system.devices import training_device
from autoopt.strategies.system.files import write_whole
from autoopt.strategies.training.precision import training_precision


def origin_of(base: Candidate, data: TextData) -> str:
    """Return the address of a base candidate in the stage store."""
    return origin(
        model=weights_digest(base.model),
        data=data.fingerprint,
        task=base.task,
        precision=str(training_precision(training_device().torch_device)),
    )


@dataclass(frozen=True)
class OtherBases:
    """What a worker knows of the further base models, by the label in ``Recipe.model``."""

    experiment: Experiment
    data: TextData
    open_base: Callable[[str], Candidate]
    """Opens a base model by its name."""
    study_folder: Path | None = None

    @cached_property
    def candidate(self) -> Callable[[str], Candidate]:
        """Return the base candidate; only the one that was needed last is kept in memory. Raises ``ModelError``."""
        return lru_cache(1)(self._open)

    @cached_property
    def origin(self) -> Callable[[str], str]:
        """Return the address in the stage store, and write it into the study's folder."""
        return lru_cache(None)(self._find_origin)

    @cached_property
    def target(self) -> Callable[[str, Calls], Target]:
        """Return the target with the lengths that the validation texts have for this model's tokenizer."""
        return lru_cache(None)(
            lambda label, calls: target_of(self.experiment, self.candidate(label), self.data.validation, calls)
        )

    def _open(self, label: str) -> Candidate:
        names = self.experiment.base_models
        if label not in names:
            raise ModelError(f"the study has no base model '{label}'; it has {', '.join(names)}")
        return self.open_base(names[label])

    def _find_origin(self, label: str) -> str:
        address = origin_of(self.candidate(label), self.data)
        if self.study_folder is not None:
            write_whole(StudyFolder(self.study_folder).origin_of(label), address)
        return address
