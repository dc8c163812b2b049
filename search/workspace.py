"""What the trials of a study share, opened once by each worker: base model, data, stage store, reference."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autoopt.objectives.data import TextData
from autoopt.objectives.latency import Calibration, Comparison, measurements
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.shapes import ShapeTable, calibrated, measure_shape, signature
from autoopt.objectives.size import measure_size, parameters
from autoopt.objectives.target import Target
from autoopt.objectives.task import Task
from autoopt.search.experiment import Experiment, load_experiment
from autoopt.search.layout import Root, StudyFolder
from autoopt.search.opening import open_data, target_of, task_of
from autoopt.search.recipe import Recipe
from autoopt.search.stage_store import StageStore, origin
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.saving import save


@dataclass(frozen=True)
class Workspace:
    """A study opened for work."""

    experiment: Experiment
    task: Task
    data: TextData
    base: Candidate
    store: StageStore
    shapes: ShapeTable
    scratch: Path
    """A folder for what is saved only to be measured."""

    @classmethod
    def open(cls, folder: StudyFolder) -> Workspace:
        """Read the resolved experiment of a study and load its data and its model."""
        experiment = load_experiment(folder.experiment, ())
        return cls.of(experiment, Root(folder.path.parent.parent), scratch=folder.path / "scratch")

    @classmethod
    def of(cls, experiment: Experiment, root: Root, *, scratch: Path) -> Workspace:
        """Open an experiment whose study need not exist yet."""
        data = open_data(experiment)
        task = task_of(experiment, data)
        return cls(
            experiment=experiment,
            task=task,
            data=data,
            base=task.open_model(experiment.model, data=data, seed=experiment.search.seed),
            store=StageStore(root.stages),
            shapes=ShapeTable(root.shapes, target_of(experiment)),
            scratch=scratch,
        )

    @property
    def seed(self) -> int:
        return self.experiment.search.seed

    @property
    def target(self) -> Target:
        return self.shapes.target

    @cached_property
    def origin(self) -> str:
        """The stage store's address of the base candidate."""
        return origin(
            model=model_fingerprint(self.base.model), data=self.data.fingerprint, task=self.base.task.to_json()
        )

    @cached_property
    def calibration(self) -> Calibration:
        """What the base model takes on this machine, the same for all trials of the study, also if it is noisy."""
        kept = self.scratch.parent / "calibration.json"
        with self.shapes.claim("study", reference=signature(self.base.model)):
            if kept.is_file():
                return Calibration.from_json(json.loads(kept.read_text(encoding="utf-8")))
            found = calibrated(self.base.model, self.target, self.shapes)
            kept.parent.mkdir(parents=True, exist_ok=True)
            work = kept.with_suffix(".tmp")
            work.write_text(json.dumps(found.to_json()), encoding="utf-8")
            work.replace(kept)
            return found

    @cached_property
    def reference(self) -> Mapping[str, Measurement]:
        """Latency and size of the baseline, known before it is trained: neither depends on the weights."""
        latency = measurements(Comparison.identity(self.calibration), self.calibration)
        return {**latency, **self.size_of(self.base, Recipe(()))}

    @cached_property
    def limit_ratio(self) -> float | None:
        """The tightest limit on latency, as a share of the baseline's."""
        ratios = [
            limit.bound(self.reference[limit.metric]) / self.reference[limit.metric].value
            for limit in self.experiment.budget
            if limit.metric.startswith("latency") and limit.metric in self.reference
        ]
        return min(ratios, default=None)

    def latency(self, candidate: Candidate) -> dict[str, Measurement]:
        """Latency of the candidate's shape, out of the table of measured shapes where it is there."""
        return measure_shape(
            candidate.model,
            self.base.model,
            self.target,
            self.shapes,
            limit_ratio=self.limit_ratio,
            calibration=self.calibration,
        )

    def size_of(self, candidate: Candidate, recipe: Recipe) -> dict[str, Measurement]:
        """Size of the candidate as it would be saved."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as own:  # Another worker may size the same recipe now.
            folder = Path(own) / "candidate"
            self.save(candidate, recipe, folder)
            return self.sizes(candidate, folder)

    def sizes(self, candidate: Candidate, folder: Path) -> dict[str, Measurement]:
        """Bytes of the saved candidate and the number of its parameters."""
        count = Measurement.exact("parameters", parameters(candidate.model), "", Direction.MINIMIZE)
        return {"size": measure_size(folder), "parameters": count}

    def save(self, candidate: Candidate, recipe: Recipe, folder: Path) -> None:
        """Save a candidate with its recipe in its notes."""
        save(candidate, folder, notes={"recipe": recipe.to_json(), "study": self.experiment.study})


def model_fingerprint(model: Any) -> str:
    """Sha256 over the names, shapes and values of all tensors."""
    import torch

    total = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
