"""Warm start: what was best in earlier studies of the same task is tried early in a new one."""

from __future__ import annotations

from collections.abc import Iterator

from autoopt.objectives.judging.verdict import judge_measured
from autoopt.objectives.measurement import QUALITY
from autoopt.search.backends.optuna_storage import database_url, study_names
from autoopt.search.backends.optuna_study import records
from autoopt.search.choosing.front import aliases, pareto
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.opening import directions
from autoopt.search.paths import Root
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import InvalidRecipe, Space
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.errors import ExperimentError

AT_MOST = 4
"""Recipes in all."""


def best_known(experiment: Experiment, root: Root, space: Space) -> list[tuple[str, Recipe]]:
    """Recipes of the space that were on the front of a study of the same task, each with the name of that study.

    The studies are those under the same root, in the same database: those of the same model first, then those that
    were begun last. Of each front the best, the knee and the fastest are taken, by the new study's objectives and
    limits.
    """
    found: dict[str, tuple[str, Recipe]] = {}
    for other in _similar(experiment, root):
        for recipe in _best(experiment, _records(other, root)):
            try:
                space.parameters(recipe)
            except InvalidRecipe:
                continue
            found.setdefault(recipe.id, (other.study, recipe))
    return list(found.values())[:AT_MOST]


def _similar(experiment: Experiment, root: Root) -> list[Experiment]:
    begun = []
    for path in root.study("any").path.parent.glob("*/experiment.resolved.yaml"):
        if path.parent.name == experiment.study:
            continue
        try:
            other = load_experiment(path, ())
        except ExperimentError:
            continue  # It was made by another version.
        if other.task.name == experiment.task.name and other.storage.url == experiment.storage.url:
            begun.append((other.model != experiment.model, -path.stat().st_mtime, other))
    return [other for _, _, other in sorted(begun, key=lambda item: item[:2])]


def _records(experiment: Experiment, root: Root) -> list[TrialRecord]:
    url = experiment.storage.address() or database_url(root.optuna_database)
    return records(url, experiment.study) if experiment.study in study_names(url) else []


def _best(experiment: Experiment, known: list[TrialRecord]) -> Iterator[Recipe]:
    objectives = directions(experiment)
    costs = [name for name in objectives if name != QUALITY]
    complete = [
        record
        for record in known
        if record.state is State.COMPLETE and all(name in record.measurements for name in (QUALITY, *costs))
    ]
    if not complete:
        return
    reference = next((record for record in complete if len(record.recipe.steps) == 1), complete[0])
    within = [
        record
        for record in complete
        # The earlier study may not have measured everything that this one limits.
        if judge_measured(record.measurements, experiment.budget, reference.measurements).feasible
    ]
    for record in aliases(pareto(within or complete, objectives), objectives).values():
        yield record.recipe
