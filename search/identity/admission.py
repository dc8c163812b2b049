"""Open a study for a search: refuse it if it is another's or was started with other inputs, and mend its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoopt.search.backends.optuna_storage import database_url
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.experiment.experiment import Experiment, stored_experiment, validate
from autoopt.search.experiment.opening import directions, find_models, open_data
from autoopt.search.experiment.yaml_file import Document
from autoopt.search.identity.fingerprints import Inputs
from autoopt.search.identity.owner import Holder, Owner, owner_of, write_id
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.space.space import Space
from autoopt.search.trial.execution import read_record, write_record
from autoopt.search.trial.record import State
from autoopt.strategies.errors import CorruptArtefact, ExperimentError
from autoopt.strategies.system.checked_files import put_aside, write_yaml
from autoopt.strategies.system.files import remove_unfinished

REMEDY = "undo the change, or give the study another name with --set study=NAME"


@dataclass
class Admission:
    """Opens the study of an experiment under a root."""

    experiment: Experiment
    root: Root
    space: Space
    say: Callable[[str], None]
    inputs: Inputs | None = None
    """Read from the data and the model if None."""
    holder: Holder = field(default_factory=Holder.here)

    @property
    def folder(self) -> StudyFolder:
        return self.root.study(self.experiment.study)

    def open(self) -> OptunaStudy:
        """Open or create the study. The caller must hold its lock.

        Raises ``ExperimentError`` if the study belongs to another folder, or was started with another experiment,
        catalog, data or model.
        """
        self.folder.path.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.folder.path)
        original, damage = stored_experiment(self.folder.experiment)
        if original is not None:
            self._refuse_other_experiment(original)
        inputs = self.inputs or Inputs.of(self.experiment, open_data(self.experiment), find_models(self.experiment))
        owners: list[Owner] = []

        def admit(attributes: Mapping[str, Any], trials: int) -> None:
            owners.append(owner_of(self.experiment.study, attributes.get("owner"), self.folder, trials=trials))
            if trials:
                self._refuse_other_inputs(attributes, inputs)

        study = OptunaStudy.open(
            self.experiment.storage.address() or database_url(self.root.optuna_database),
            self.experiment.study,
            self.space,
            objectives=directions(self.experiment),
            limits=self.experiment.budget,
            sampler=self.experiment.search.sampler,
            seed=self.experiment.search.seed,
            admit=admit,
        )
        study.claim(self.holder.to_json())
        known = {"owner": owners[0].to_json(), "fingerprints": inputs.to_json(), "space": self.space.to_json()}
        for key, value in {**known, "experiment": self.experiment.to_json()}.items():
            if study.attributes.get(key) != value:
                study.remember(key, value)
        write_id(owners[0], self.folder.id)
        if damage:
            self._put_aside(self.folder.experiment, damage)
        write_yaml(self.folder.experiment, self.experiment.to_yaml())
        self._mend_results(study)
        return study

    def _refuse_other_experiment(self, original: Experiment) -> None:
        if changed := original.differences(self.experiment):
            raise ExperimentError(
                f"the study '{self.experiment.study}' was started with another experiment: {'; '.join(changed)}; "
                f"{REMEDY}"
            )

    def _refuse_other_inputs(self, attributes: Mapping[str, Any], inputs: Inputs) -> None:
        """Compare with what the database says; a study of an earlier version says less."""
        name = self.experiment.study
        if stored := attributes.get("experiment"):
            self._refuse_other_experiment(validate(Document(f"the study '{name}' in the database", stored, {})))
        if not self.space.is_stored_as(attributes.get("space", self.space.to_json())):
            raise ExperimentError(
                f"the study '{name}' was started with another catalog of strategies, so its trials "
                "cannot be compared with new ones; give the study another name with --set study=NAME"
            )
        stored = attributes.get("fingerprints")
        if stored and (changes := inputs.changes_since(Inputs.from_json(stored))):
            raise ExperimentError(
                f"the study '{name}' was started with other data or another model: {'; '.join(changes)}; {REMEDY}"
            )

    def _put_aside(self, path: Path, damage: str) -> None:
        self.say(f"{damage}; it is now {put_aside(path).name}, and is made again")

    def _mend_results(self, study: OptunaStudy) -> None:
        """Put damaged records of trials aside. Those that had been read before are written again."""
        damaged = set()
        for path in sorted(self.folder.path.glob("trials/*/*.json")):
            try:
                read_record(path)
            except CorruptArtefact as error:
                self._put_aside(path, str(error))
                damaged.add(path)
        for record in study.records():
            path = self.folder.result(record.number)
            if path in damaged and record.state is not State.RUNNING:
                write_record(record, path)
