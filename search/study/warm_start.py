"""Warm start: the best recipes of earlier studies of the same task, to try early in a new one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from autoopt.objectives.judging.verdict import judge_measured
from autoopt.objectives.measurement import QUALITY
from autoopt.search.backends.optuna_records import records as stored_records
from autoopt.search.backends.optuna_storage import database_url, study_names
from autoopt.search.choosing.front import aliases, pareto
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.opening import directions
from autoopt.search.paths import Root
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import InvalidRecipe, Space
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.errors import CorruptArtefact, ExperimentError
from autoopt.strategies.system.checked_files import verify_yaml

MAX_RECIPES = 4


def best_known(experiment: Experiment, root: Root, space: Space) -> list[tuple[str, Recipe]]:
    """Return recipes from the fronts of earlier studies of the same task, with the name of the study.

    Studies must share the root and the database; those of the same models come first, then the most recent. Each
    contributes the models that ``aliases`` recommends by the new study's objectives and limits. Recipes outside the
    space are left out. A recipe keeps its base model if the new study has it, else it is tried on the first one.
    """
    recipes: dict[str, tuple[str, Recipe]] = {}
    for other in _similar(experiment, root):
        for recipe in _best(experiment, _records(other, root)):
            recipe = replace(recipe, model=_counterpart(recipe, other, experiment))
            try:
                space.parameters(recipe)
            except InvalidRecipe:
                continue
            recipes.setdefault(recipe.id, (other.study, recipe))
    return list(recipes.values())[:MAX_RECIPES]


def _counterpart(recipe: Recipe, other: Experiment, experiment: Experiment) -> str:
    """Return ``Recipe.model`` in this experiment for a recipe of another one."""
    labels = {name: label for label, name in experiment.base_models.items()}
    return experiment.recipe_model(labels.get(other.base_model_of(recipe.model), ""))


def _similar(experiment: Experiment, root: Root) -> list[Experiment]:
    studies = []
    for path in root.study("any").path.parent.glob("*/experiment.resolved.yaml"):
        if path.parent.name == experiment.study:
            continue
        try:
            verify_yaml(path)
            other = load_experiment(path, ())
        except (ExperimentError, CorruptArtefact):
            continue  # Written by another version, or damaged.
        if other.task.name == experiment.task.name and other.storage.url == experiment.storage.url:
            studies.append((other.model != experiment.model, -path.stat().st_mtime, other))
    return [other for _, _, other in sorted(studies, key=lambda item: item[:2])]


def _records(experiment: Experiment, root: Root) -> list[TrialRecord]:
    url = experiment.storage.address() or database_url(root.optuna_database)
    return stored_records(url, experiment.study) if experiment.study in study_names(url) else []


def _best(experiment: Experiment, records: list[TrialRecord]) -> Iterator[Recipe]:
    objectives = directions(experiment)
    costs = [name for name in objectives if name != QUALITY]
    complete = [
        record
        for record in records
        if record.state is State.COMPLETE and all(name in record.measurements for name in (QUALITY, *costs))
    ]
    if not complete:
        return
    plain = [record for record in complete if len(record.recipe.steps) == 1]
    reference = min(plain, key=lambda record: record.recipe.model != "", default=complete[0])
    feasible = [
        record
        for record in complete
        # The earlier study may not have measured everything that this one limits.
        if judge_measured(
            record.measurements, experiment.budget, reference.measurements, corrections=record.corrections
        ).feasible
    ]
    for record in aliases(pareto(feasible or complete, objectives), objectives).values():
        yield record.recipe
