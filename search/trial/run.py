"""One trial: measure its shape, and if that is within the limits run its stages, score it and save it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast

from autoopt.objectives.judging.budget import IntervalEnd, Limit
from autoopt.objectives.judging.verdict import judge_measured
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.task import Task
from autoopt.search.space.recipe import TRUNK, Recipe
from autoopt.search.trial.record import StageRecord, State, TrialRecord
from autoopt.search.trial.rungs import Judge, RungScorer
from autoopt.search.trial.stage_eviction import needed
from autoopt.search.trial.stage_store import addresses
from autoopt.search.trial.workspace import Workspace
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.strategy import Family
from autoopt.strategies.training import progress

Report: TypeAlias = Callable[[str], None]
"""Called with the name of each stage when it begins, and again with how far its training is."""
AUDITED = 20
"""Of so many rejected recipes one is built all the same."""


def run_trial(
    number: int,
    recipe: Recipe,
    workspace: Workspace,
    *,
    folder: Path,
    report: Report,
    judge: Judge | None = None,
    screened: bool = True,
) -> TrialRecord:
    """Run one trial and save its candidate to ``folder``.

    A recipe whose shape alone is clearly over a limit on latency, size or another cost is rejected before any training,
    unless ``screened`` is False or it is ``audited``. Raises whatever a strategy raises. The limits on quality are not
    judged here. Where there is no ``judge``, recovery training is not looked at on its way.
    """
    started = time.monotonic()
    built = build(recipe, workspace, report=report) if is_trained(recipe, workspace) else None
    report("screening")
    screening_started = time.monotonic()
    measurements = workspace.measure(built[0], recipe) if built else screen(recipe, workspace)
    screening = StageRecord("screening", time.monotonic() - screening_started, reused=False)
    reason = excess(measurements, workspace.experiment.budget, workspace.reference) if screened else ""
    if reason and (built or not audited(recipe)):
        stages = (screening, *(built[1] if built else ()))
        seconds = time.monotonic() - started
        return TrialRecord(number, recipe, State.REJECTED, measurements, stages=stages, seconds=seconds, reason=reason)
    rungs = None
    if judge is not None:
        begun = TrialRecord(number, recipe, State.RUNNING, measurements, stages=(screening,))
        rungs = RungScorer(begun, workspace, judge, started)
    candidate, stages = built or build(recipe, workspace, report=report, rungs=rungs)
    if not built and (reason or any(type(step).adaptive for step in recipe.steps)):
        report("measuring")
        measurements = workspace.measure(candidate, recipe)
    if reason and (still := excess(measurements, workspace.experiment.budget, workspace.reference)):
        seconds = time.monotonic() - started
        stages = (screening, *stages)
        reason = f"{still}; built in full to see whether screening is right"
        return TrialRecord(number, recipe, State.REJECTED, measurements, stages=stages, seconds=seconds, reason=reason)
    report("scoring")
    scoring_started = time.monotonic()
    candidate = workspace.task.tune(candidate, workspace.data.validation)
    scores = cast("Task", candidate.task).score(candidate, workspace.data.validation)
    workspace.save(candidate, recipe, folder)
    scoring = StageRecord("scoring", time.monotonic() - scoring_started, reused=False)
    return TrialRecord(
        number,
        recipe,
        State.COMPLETE,
        {**scores, **measurements, **workspace.exact_costs(candidate, folder)},
        stages=(screening, *stages, scoring),
        seconds=time.monotonic() - started,
        rungs=rungs.qualities if rungs else {},
    )


def is_trained(recipe: Recipe, workspace: Workspace) -> bool:
    """True where all that takes long is stored: then the recipe is built as it is, not as a shape before that."""
    where = addresses(recipe.steps, workspace.origin, effort=1.0, seed=workspace.seed)
    kept = [address for step, address in zip(recipe.steps, where, strict=True) if step.is_stored()]
    return bool(kept) and kept[-1] in workspace.store


def audited(recipe: Recipe) -> bool:
    """True for one recipe in twenty, always the same: it is built in full although its shape is over a limit."""
    return int(recipe.id, 16) % AUDITED == 0


def screen(recipe: Recipe, workspace: Workspace) -> dict[str, Measurement]:
    """Measure what the recipe's shape costs to serve; it does not depend on the weights, so nothing is trained."""
    return workspace.measure(build(recipe, workspace, effort=0.0)[0], recipe)


def excess(
    measurements: Mapping[str, Measurement], limits: Sequence[Limit], reference: Mapping[str, Measurement]
) -> str:
    """Return which limits are exceeded even at the better end of the interval, as text; empty if none is.

    The text says so if the machine was disturbed while a value was measured.
    """
    verdict = judge_measured(measurements, limits, reference, end=IntervalEnd.BETTER)
    beyond = []
    for limit, over in verdict.exceeded.items():
        noise = ", measured on a disturbed machine" if measurements[limit.metric].noisy else ""
        beyond.append(f"{limit.text}: over by at least {over:.0%}{noise}")
    return "; ".join(beyond)


def build(
    recipe: Recipe,
    workspace: Workspace,
    *,
    effort: float = 1.0,
    report: Report = lambda _: None,
    rungs: RungScorer | None = None,
) -> tuple[Candidate, tuple[StageRecord, ...]]:
    """Apply the recipe's strategies to the base model, going on from the longest prefix that the stage store holds.

    At effort 0 the store is left alone: everything is computed and nothing is trained.
    """
    if effort == 0:
        return _built(recipe, workspace, effort, report)
    with needed(workspace.store.folder) as mark:
        mark(addresses(recipe.steps, workspace.origin, effort=effort, seed=workspace.seed))
        return _built(recipe, workspace, effort, report, rungs)


def _built(
    recipe: Recipe, workspace: Workspace, effort: float, report: Report, rungs: RungScorer | None = None
) -> tuple[Candidate, tuple[StageRecord, ...]]:
    where = addresses(recipe.steps, workspace.origin, effort=effort, seed=workspace.seed)
    candidate, done, stages = _restore(recipe, workspace, where) if effort > 0 else (workspace.base, 0, [])
    trunk = None
    for position, step in enumerate(recipe.steps[done:], start=done):
        began = time.monotonic()
        report(step.name)
        if step.family not in TRUNK and position == len(recipe.trunk):
            trunk = candidate.model
        if "teacher" in step.needs:
            teacher = trunk if trunk is not None else build(Recipe(recipe.trunk), workspace, effort=effort)[0].model
            candidate = replace(candidate, teacher=teacher)
        apply = partial(step.apply, candidate, effort=effort, seed=workspace.seed)
        if step.is_stored() and effort > 0:
            is_scored = rungs is not None and step.recovers and where[position] not in workspace.store
            scoring = rungs.watching(candidate, stages) if is_scored and rungs else nullcontext()
            with progress.reporting(_look(step.name, report)), scoring:
                candidate, reused = workspace.store.once(where[position], candidate, apply)
        else:
            candidate, reused = apply(), False
        saved = workspace.store.seconds(where[position]) if reused else 0.0
        stages.append(StageRecord(step.name, time.monotonic() - began, reused, saved))
    return candidate, tuple(stages)


def _look(stage: str, report: Report) -> progress.Report:
    return lambda done, total: report(f"{stage}, {done / total:.0%}")


def _restore(recipe: Recipe, workspace: Workspace, where: list[str]) -> tuple[Candidate, int, list[StageRecord]]:
    """Return the candidate after the longest stored prefix, the number of its steps, and a record for each."""
    for position in reversed(range(len(recipe.steps))):
        if not recipe.steps[position].is_stored() or where[position] not in workspace.store:
            continue
        began = time.monotonic()
        prefix = recipe.steps[: position + 1]
        candidate = workspace.base
        for step in prefix:
            if step.family is Family.AUGMENTATION:  # It changes the data, which is not stored with the model.
                candidate = step.apply(candidate, effort=1.0, seed=workspace.seed)
        restored = workspace.store.load(where[position], candidate)
        if restored is not None:
            seconds = (time.monotonic() - began) / len(prefix)
            saved = [workspace.store.seconds(each) for each in where[: len(prefix)]]
            stages = [
                StageRecord(step.name, seconds, reused=True, saved=each)
                for step, each in zip(prefix, saved, strict=True)
            ]
            return restored, len(prefix), stages
    return workspace.base, 0, []
