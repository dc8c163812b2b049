"""Everything the trials of a study share, opened once per worker: base model, data, stage store, reference."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

from autoopt.objectives.costs import costs, measure_costs, pairs_for
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.data.token_cache import TokenCache
from autoopt.objectives.loading import load_labelled
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.monitor import ValidationMonitor
from autoopt.objectives.target import Calls, Target
from autoopt.objectives.task import Task
from autoopt.objectives.timing.latency import Calibration, Comparison
from autoopt.objectives.timing.shape_table import ShapeTable, calibrate_once, compare_shape, shape_key
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.opening import open_data, target_of, task_of
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.other_bases import OtherBases, origin_of
from autoopt.search.trial.stage_store import StageStore, addresses
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import CorruptArtefact
from autoopt.strategies.saving import save
from autoopt.strategies.stand_ins.structure import structure_digest
from autoopt.strategies.system import measurement_gate
from autoopt.strategies.system.checked_files import read_json, write_json
from autoopt.strategies.system.files import write_whole


@dataclass(frozen=True)
class Workspace:
    """A study opened for work."""

    experiment: Experiment
    task: Task
    data: TextData
    base: Candidate
    """The study's first base model, which all others are compared with."""
    others: OtherBases
    """The base models after the first."""
    store: StageStore
    shapes: ShapeTable
    scratch: Path
    """Folder for models that are saved only to be measured."""
    seed: int
    """Seed of the base model's new head and of all strategies; the data splits do not depend on it."""
    study_folder: Path | None = None
    """Folder in which the study's first calibration is kept; None for an experiment without a study."""

    @classmethod
    def open(cls, folder: StudyFolder, *, seed: int | None = None) -> Workspace:
        """Load the data and the model of a study's resolved experiment; ``seed`` overrides the experiment's."""
        experiment = load_experiment(folder.experiment, ())
        root = Root(folder.path.parent.parent)
        opened = cls.of(experiment, root, scratch=folder.path / "scratch", seed=seed, study_folder=folder.path)
        write_whole(folder.origin, opened.origin)
        return opened

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        root: Root,
        *,
        scratch: Path,
        seed: int | None = None,
        study_folder: Path | None = None,
    ) -> Workspace:
        """Open an experiment, whether its study exists or not."""
        seed = experiment.search.seed if seed is None else seed
        data = open_data(experiment)
        task = task_of(experiment, data)

        def open_base(name: str) -> Candidate:
            return replace(
                task.open_model(name, data=data, seed=seed),
                tokens=TokenCache(root.tokens),
                other_data=partial(load_labelled, task_type=type(task)),
                monitor=ValidationMonitor.of(data.validation),
            )

        base = open_base(next(iter(experiment.base_models.values())))
        return cls(
            experiment=experiment,
            task=task,
            data=data,
            base=base,
            others=OtherBases(experiment, data, open_base, study_folder),
            store=StageStore(root.stages, limit=experiment.storage.stages_limit()),
            shapes=ShapeTable(root.shapes, target_of(experiment, base, data.validation)),
            scratch=scratch,
            seed=seed,
            study_folder=study_folder,
        )

    @property
    def target(self) -> Target:
        return self.shapes.target

    @cached_property
    def origin(self) -> str:
        """Address of the first base candidate in the stage store."""
        return origin_of(self.base, self.data)

    def base_of(self, recipe: Recipe) -> Candidate:
        """Return the base model that a recipe starts from. Raises ``ModelError`` if the study has it not."""
        return self.others.candidate(recipe.model) if recipe.model else self.base

    def origin_of(self, recipe: Recipe) -> str:
        """Return the address in the stage store of the candidate that a recipe starts from."""
        return self.others.origin(recipe.model) if recipe.model else self.origin

    def addresses(self, recipe: Recipe, *, effort: float = 1.0) -> list[str]:
        """Return the address in the stage store after each step of a recipe."""
        origin = self.origin_of(recipe)
        return addresses(recipe.steps, origin, effort=effort, seed=self.seed, origin_of=self._origin_labelled)

    def _origin_labelled(self, label: str) -> str:
        return self.origin_of(Recipe((), self.experiment.recipe_model(label)))

    def target_of(self, recipe: Recipe, calls: Calls = Calls.BATCH) -> Target:
        """Return the target: the same texts for all, or the lengths that they have for the recipe's own tokenizer."""
        target = self.shapes_of(calls).target
        return self.others.target(recipe.model, calls) if recipe.model and not target.texts else target

    @cached_property
    def metrics(self) -> frozenset[str]:
        """Metrics of the objectives and the budget; of costs that take time to measure, only these are measured."""
        return self.experiment.metrics()

    @cached_property
    def calibration(self) -> Calibration:
        """Latency of the base model on this machine, the same for all trials of the study, even if noisy."""
        return self.calibration_of(Calls.BATCH)

    @cached_property
    def shapes_of(self) -> Callable[[Calls], ShapeTable]:
        """Return the table of shapes for a kind of calls; one for kinds that are the same on this target."""
        return lru_cache(None)(self._open_shapes)

    @cached_property
    def calibration_of(self) -> Callable[[Calls], Calibration]:
        """Return the time of the base model's calls of a kind."""
        return lru_cache(None)(self._calibrate_study)

    @cached_property
    def reference(self) -> Mapping[str, Measurement]:
        """Serving costs of the baseline, which do not depend on its weights."""
        return self.measure(self.base, Recipe(()))

    def corrections(self) -> dict[str, float]:
        """Return for each absolute limit on a time the factor that makes it that of a quiet machine.

        Empty if the study's calibration was not disturbed, and as long as the machine is. The calibration itself stays,
        since all trials of a study are compared by it.
        """
        metrics = {limit.metric for limit in self.experiment.budget if not limit.of_baseline} & costs().keys()
        timed = {name for name in metrics if costs()[name].limit_ratio(1.0, 1.0) is not None}
        if not timed or not self.calibration.disturbed:
            return {}
        pairs = pairs_for(self.metrics)
        quiet = calibrate_once(self.base, self.target, self.shapes, samples=pairs.minimum, seconds=pairs.seconds)
        if quiet.disturbed:
            return {}
        ratios = {name: quiet.relative_to(self.calibration, name) for name in sorted(timed)}
        return {name: costs()[name].limit_ratio(ratio, 1.0) or 1.0 for name, ratio in ratios.items()}

    @cached_property
    def limit_ratio(self) -> float | None:
        """Tightest limit on the time of a call, relative to the baseline's; None if there is none."""
        ratios = [
            costs()[limit.metric].limit_ratio(limit.bound(measured), measured.value)
            for limit in self.experiment.budget
            if limit.metric in costs() and (measured := self.reference.get(limit.metric))
        ]
        return min((ratio for ratio in ratios if ratio is not None), default=None)

    def measure(self, candidate: Candidate, recipe: Recipe) -> dict[str, Measurement]:
        """Measure the candidate's serving costs, or look them up if its shape was measured before."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as own:  # Another worker may measure the same recipe.
            folder = Path(own) / "candidate"
            self.save(candidate, recipe, folder)
            return measure_costs(TableServing(self, candidate, folder, recipe), self.metrics)

    def exact_costs(self, candidate: Candidate, recipe: Recipe, folder: Path) -> dict[str, Measurement]:
        """Return the costs of the saved model that are counted rather than timed."""
        return measure_costs(TableServing(self, candidate, folder, recipe), self.metrics, only_exact=True)

    def _open_shapes(self, calls: Calls) -> ShapeTable:
        target = target_of(self.experiment, self.base, self.data.validation, calls)
        return self.shapes if target == self.shapes.target else ShapeTable(self.shapes.folder.parent, target)

    def _calibrate_study(self, calls: Calls) -> Calibration:
        """Return the study's first calibration, which is kept in a file in the study's folder."""
        shapes = self.shapes_of(calls)
        if calls is not Calls.BATCH and shapes is self.shapes:
            return self.calibration
        pairs = pairs_for(self.metrics, calls)
        calibrate = partial(
            calibrate_once, self.base, shapes.target, shapes, samples=pairs.minimum, seconds=pairs.seconds
        )
        if self.study_folder is None:
            return calibrate()
        path = self.study_folder / ("calibration.json" if calls is Calls.BATCH else f"calibration-{calls}.json")
        with shapes.claim("study", reference=structure_digest(self.base.model)):
            with suppress(FileNotFoundError, CorruptArtefact):
                return Calibration.from_json(read_json(path))
            calibration = calibrate()
            write_json(path, calibration.to_json())
            return calibration

    def save(self, candidate: Candidate, recipe: Recipe, folder: Path) -> None:
        """Save a candidate with its recipe in its notes, while nothing is being measured on this machine."""
        with measurement_gate.compute_step():
            data = self.experiment.data
            columns = {"text": data.text, "text_pair": data.text_pair}
            notes = {"recipe": recipe.to_json(), "study": self.experiment.study, "columns": columns}
            save(candidate, folder, notes=notes | {"base_model": self.experiment.base_model_of(recipe.model)})


@dataclass(frozen=True)
class TableServing:
    """A trial's model being measured, with the table of shapes measured before."""

    workspace: Workspace
    candidate: Candidate
    folder: Path
    recipe: Recipe
    thorough: bool = False

    @property
    def model(self) -> Any:
        return self.candidate.model

    @cached_property
    def target(self) -> Target:
        return self.workspace.target_of(self.recipe)

    @property
    def calibration(self) -> Calibration:
        return self.workspace.calibration

    @cached_property
    def comparison(self) -> Comparison:
        workspace = self.workspace
        if self.model is workspace.base.model:
            return Comparison.identity(self.calibration)
        return compare_shape(
            self.candidate,
            workspace.base,
            workspace.target,
            workspace.shapes,
            calibration=self.calibration,
            limit_ratio=workspace.limit_ratio,
            candidate_target=self.target,
        )

    def target_for(self, calls: Calls) -> Target:
        return self.workspace.shapes_of(calls).target

    def timed(self, calls: Calls) -> tuple[Comparison, Calibration]:
        workspace = self.workspace
        shapes = workspace.shapes_of(calls)
        if shapes is workspace.shapes:
            return self.comparison, self.calibration
        calibration = workspace.calibration_of(calls)
        comparison = compare_shape(
            self.candidate,
            workspace.base,
            shapes.target,
            shapes,
            calibration=calibration,
            candidate_target=workspace.target_of(self.recipe, calls),
        )
        return comparison, calibration

    def once(self, metric: str, measure: Callable[[], Measurement]) -> Measurement:
        return self.workspace.shapes.once(
            metric, shape_key(self.candidate, self.workspace.target, self.target), measure
        )
