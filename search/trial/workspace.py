"""What the trials of a study share, opened once by each worker: base model, data, stage store, reference."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from autoopt.objectives.costs.bench import SINGLE, energy_of, samples_for, single, sizes
from autoopt.objectives.costs.energy import ENERGY
from autoopt.objectives.costs.memory import MEMORY, measure_memory
from autoopt.objectives.costs.throughput import THROUGHPUT, throughput
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.data.token_cache import TokenCache
from autoopt.objectives.loading import load_labelled
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.task import Task
from autoopt.objectives.timing.latency import LATENCIES, Calibration, Comparison, measurements
from autoopt.objectives.timing.shape_table import ShapeTable, calibrated, compare_shape, signature
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.opening import open_data, single_target_of, target_of, task_of
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.stage_store import StageStore, origin
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.saving import save
from autoopt.strategies.system import quiet
from autoopt.strategies.training.precision import training_precision


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
    seed: int
    """Of everything that is drawn: the new head of the base model, and what strategies draw. Not of the splits."""

    @classmethod
    def open(cls, folder: StudyFolder, *, seed: int | None = None) -> Workspace:
        """Read the resolved experiment of a study and load its data and its model; ``seed`` in place of its own."""
        experiment = load_experiment(folder.experiment, ())
        opened = cls.of(experiment, Root(folder.path.parent.parent), scratch=folder.path / "scratch", seed=seed)
        folder.origin.write_text(opened.origin, encoding="utf-8")
        return opened

    @classmethod
    def of(cls, experiment: Experiment, root: Root, *, scratch: Path, seed: int | None = None) -> Workspace:
        """Open an experiment whose study need not exist yet."""
        seed = experiment.search.seed if seed is None else seed
        data = open_data(experiment)
        task = task_of(experiment, data)
        base = replace(
            task.open_model(experiment.model, data=data, seed=seed),
            tokens=TokenCache(root.tokens),
            other_data=partial(load_labelled, task_type=type(task)),
        )
        return cls(
            experiment=experiment,
            task=task,
            data=data,
            base=base,
            store=StageStore(root.stages, limit=experiment.storage.stages_limit()),
            shapes=ShapeTable(root.shapes, target_of(experiment, base, data.validation)),
            scratch=scratch,
            seed=seed,
        )

    @property
    def target(self) -> Target:
        return self.shapes.target

    @cached_property
    def origin(self) -> str:
        """The stage store's address of the base candidate."""
        return origin(
            model=model_fingerprint(self.base.model),
            data=self.data.fingerprint,
            task=self.base.task.to_json(),
            precision=str(training_precision(self.base.model.device)),
        )

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The metrics of the objectives and the budget: of what costs time to measure, only these are measured."""
        return self.experiment.metrics()

    @cached_property
    def calibration(self) -> Calibration:
        """What the base model takes on this machine, the same for all trials of the study, also if it is noisy."""
        return self._calibrated(self.shapes, "calibration.json", samples=samples_for(self.wanted))

    @cached_property
    def single_shapes(self) -> ShapeTable:
        """The shapes as they were measured with one example at a time."""
        target = single_target_of(self.experiment, self.base, self.data.validation)
        return ShapeTable(self.shapes.folder.parent, target)

    @cached_property
    def single_calibration(self) -> Calibration:
        """What the base model takes for one example."""
        return self._calibrated(self.single_shapes, "calibration-single.json", samples=samples_for(frozenset()))

    @cached_property
    def reference(self) -> Mapping[str, Measurement]:
        """What the baseline costs, known before it is trained: nothing of it depends on the weights."""
        identity = Comparison.identity(self.calibration)
        return {**self._costs(self.base, identity), **self.size_of(self.base, Recipe(()))}

    @cached_property
    def limit_ratio(self) -> float | None:
        """The tightest limit on the time of a call, as a share of the baseline's."""
        ratios = []
        for limit in self.experiment.budget:
            measured = self.reference.get(limit.metric)
            if measured is not None and limit.metric in LATENCIES:
                ratios.append(limit.bound(measured) / measured.value)
            elif measured is not None and limit.metric == THROUGHPUT:
                ratios.append(measured.value / limit.bound(measured))
        return min(ratios, default=None)

    def latency(self, candidate: Candidate) -> dict[str, Measurement]:
        """Latency of the candidate's shape and what else depends on it, out of the table where it is there."""
        return self._costs(
            candidate,
            compare_shape(
                candidate.model,
                self.base.model,
                self.target,
                self.shapes,
                calibration=self.calibration,
                limit_ratio=self.limit_ratio,
            ),
        )

    def _costs(self, candidate: Candidate, comparison: Comparison) -> dict[str, Measurement]:
        found = measurements(comparison, self.calibration)
        if THROUGHPUT in self.wanted:
            found[THROUGHPUT] = throughput(comparison, self.calibration, self.target)
        if SINGLE in self.wanted:
            found[SINGLE] = self._single(candidate, found)
        if ENERGY in self.wanted:
            shape = signature(candidate.model)
            found[ENERGY] = self.shapes.once(ENERGY, shape, lambda: energy_of(candidate.model, self.target))
        return found

    def _single(self, candidate: Candidate, found: dict[str, Measurement]) -> Measurement:
        shapes = self.single_shapes
        if shapes.target == self.target:
            return single(found)
        calibration = self.single_calibration
        comparison = compare_shape(candidate.model, self.base.model, shapes.target, shapes, calibration=calibration)
        return single(measurements(comparison, calibration))

    def _calibrated(self, shapes: ShapeTable, name: str, *, samples: int) -> Calibration:
        """Hold on to the first calibration of this study, in a file of this name."""
        kept = self.scratch.parent / name
        with shapes.claim("study", reference=signature(self.base.model)):
            if kept.is_file():
                return Calibration.from_json(json.loads(kept.read_text(encoding="utf-8")))
            found = calibrated(self.base.model, shapes.target, shapes, samples=samples)
            kept.parent.mkdir(parents=True, exist_ok=True)
            work = kept.with_suffix(".tmp")
            work.write_text(json.dumps(found.to_json()), encoding="utf-8")
            work.replace(kept)
            return found

    def size_of(self, candidate: Candidate, recipe: Recipe) -> dict[str, Measurement]:
        """Size of the candidate as it would be saved, and the memory that it takes to serve it."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as own:  # Another worker may size the same recipe now.
            folder = Path(own) / "candidate"
            self.save(candidate, recipe, folder)
            found = self.sizes(candidate, folder)
            if MEMORY in self.wanted:
                shape = signature(candidate.model)
                found[MEMORY] = self.shapes.once(MEMORY, shape, lambda: measure_memory(folder, self.target))
            return found

    def sizes(self, candidate: Candidate, folder: Path) -> dict[str, Measurement]:
        """Bytes of the saved candidate and the number of its parameters."""
        return sizes(candidate.model, folder)

    def save(self, candidate: Candidate, recipe: Recipe, folder: Path) -> None:
        """Save a candidate with its recipe in its notes; waits while something is being timed on this machine."""
        with quiet.step():
            save(candidate, folder, notes={"recipe": recipe.to_json(), "study": self.experiment.study})


def model_fingerprint(model: Any) -> str:
    """Sha256 over the names, shapes and values of all tensors."""
    import torch

    total = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
