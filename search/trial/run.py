"""Run one trial: screen its shape against the limits, then run its stages, score and save the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, cast

from autoopt.objectives.judging.budget import IntervalEnd, Limit
from autoopt.objectives.judging.verdict import NO_CORRECTIONS, judge_measured
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.task import Task
from autoopt.search.space.recipe import TRUNK, Recipe
from autoopt.search.trial import gpu_stage
from autoopt.search.trial.gpu_stage import stage_record
from autoopt.search.trial.placement import Placement
from autoopt.search.trial.record import StageRecord, State, TrialRecord
from autoopt.search.trial.rungs import Judge, RungScorer
from autoopt.search.trial.stage_eviction import pinning
from autoopt.search.trial.workspace import Workspace
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.strategy import Family, Strategy
from autoopt.strategies.system.utilization import watching
from autoopt.strategies.training import progress

Report: TypeAlias = Callable[[str], None]
"""Called with the name of each stage when it starts, and again with the progress of its training."""
NO_PEAKS: Mapping[str, int] = MappingProxyType({})
AUDIT_PERIOD = 20
"""One in so many rejected recipes is built all the same, to check the screening."""


def run_trial(
    number: int,
    recipe: Recipe,
    workspace: Workspace,
    *,
    folder: Path,
    report: Report,
    judge: Judge | None = None,
    screened: bool = True,
    peaks: Mapping[str, int] = NO_PEAKS,
) -> TrialRecord:
    """Run one trial and save its candidate to ``folder``.

    A recipe whose shape clearly exceeds a limit on a cost is rejected before any training, unless ``screened`` is False
    or the recipe is audited. Limits on quality are not judged here. Without ``judge`` no rung is scored. ``peaks`` are
    the bytes that stages will take of a GPU, by name, where known. Errors of strategies are passed on.
    """
    started = time.monotonic()
    built = build(recipe, workspace, report=report, peaks=peaks) if has_stored_training(recipe, workspace) else None
    report("screening")
    screening_started = time.monotonic()
    measurements = workspace.measure(built[0], recipe) if built else screen(recipe, workspace)
    corrections, reason = judge_shape(measurements, workspace) if screened else ({}, "")
    screening = StageRecord("screening", time.monotonic() - screening_started, reused=False)
    running = TrialRecord(number, recipe, State.RUNNING, measurements, stages=(screening,), corrections=corrections)
    if reason and (built or not is_audited(recipe)):
        return _rejected(running, built[1] if built else (), reason, started)
    rungs = RungScorer(running, workspace, judge, started) if judge is not None else None
    candidate, stages = built or build(recipe, workspace, report=report, rungs=rungs, peaks=peaks)
    if not built and (reason or any(type(step).adaptive for step in recipe.steps)):
        report("measuring")
        measurements = workspace.measure(candidate, recipe)
        running = replace(running, measurements=measurements)
    if reason and (confirmed := judge_shape(measurements, workspace)[1]):
        reason = f"{confirmed}; built in full to see whether screening is right"
        return _rejected(running, stages, reason, started)
    report("scoring")
    scoring_started = time.monotonic()
    device = Placement.of(effort=1.0).scoring_device(recipe)
    device.reset_peak()
    with watching(device) as used:
        candidate = workspace.task.tune(candidate, workspace.data.validation)
        scores = cast("Task", candidate.task).score(candidate, workspace.data.validation)
        workspace.save(candidate, recipe, folder)
    scoring = stage_record("scoring", time.monotonic() - scoring_started, device, used())
    return replace(
        running,
        state=State.COMPLETE,
        measurements={**scores, **measurements, **workspace.exact_costs(candidate, recipe, folder)},
        stages=(screening, *stages, scoring),
        seconds=time.monotonic() - started,
        rungs=rungs.qualities if rungs else {},
    )


def judge_shape(measurements: Mapping[str, Measurement], workspace: Workspace) -> tuple[dict[str, float], str]:
    """Return the corrections of absolute times, and which limits are exceeded in spite of them, as ``excess``."""
    limits, reference = workspace.experiment.budget, workspace.reference
    if judge_measured(measurements, limits, reference).feasible:
        return {}, ""
    corrections = workspace.corrections()
    return corrections, excess(measurements, limits, reference, corrections)


def _rejected(running: TrialRecord, stages: Sequence[StageRecord], reason: str, started: float) -> TrialRecord:
    seconds = time.monotonic() - started
    return replace(running, state=State.REJECTED, stages=(*running.stages, *stages), seconds=seconds, reason=reason)


def has_stored_training(recipe: Recipe, workspace: Workspace) -> bool:
    """Whether the last result worth storing is in the store, so that the recipe need not be screened as a shape."""
    stage_addresses = workspace.addresses(recipe)
    stored = [address for step, address in zip(recipe.steps, stage_addresses, strict=True) if step.is_stored()]
    return bool(stored) and stored[-1] in workspace.store


def is_audited(recipe: Recipe) -> bool:
    """Whether the recipe is built in full although its shape exceeds a limit: one in twenty, by its id."""
    return int(recipe.id, 16) % AUDIT_PERIOD == 0


def screen(recipe: Recipe, workspace: Workspace) -> dict[str, Measurement]:
    """Measure the serving costs of the recipe's shape without training."""
    return workspace.measure(build(recipe, workspace, effort=0.0)[0], recipe)


def excess(
    measurements: Mapping[str, Measurement],
    limits: Sequence[Limit],
    reference: Mapping[str, Measurement],
    corrections: Mapping[str, float] = NO_CORRECTIONS,
) -> str:
    """Return which limits are exceeded even at the better end of the interval, as text; empty if none is.

    The text says so if the machine was disturbed while a value was measured.
    """
    verdict = judge_measured(measurements, limits, reference, end=IntervalEnd.BETTER, corrections=corrections)
    texts = []
    for limit, over in verdict.exceeded.items():
        noise = ", measured on a disturbed machine" if measurements[limit.metric].noisy else ""
        texts.append(f"{limit.text}: over by at least {over:.0%}{noise}")
    return "; ".join(texts)


def build(
    recipe: Recipe,
    workspace: Workspace,
    *,
    effort: float = 1.0,
    report: Report = lambda _: None,
    rungs: RungScorer | None = None,
    peaks: Mapping[str, int] = NO_PEAKS,
) -> tuple[Candidate, tuple[StageRecord, ...]]:
    """Apply the recipe's strategies to the base model, starting from the longest stored prefix.

    At effort 0 the stage store is neither read nor written.
    """
    if effort == 0:
        return _apply_steps(recipe, workspace, effort, report)
    with pinning(workspace.store.folder) as pin:
        pin(workspace.addresses(recipe, effort=effort))
        return _apply_steps(recipe, workspace, effort, report, rungs, peaks)


def _apply_steps(
    recipe: Recipe,
    workspace: Workspace,
    effort: float,
    report: Report,
    rungs: RungScorer | None = None,
    peaks: Mapping[str, int] = NO_PEAKS,
) -> tuple[Candidate, tuple[StageRecord, ...]]:
    stage_addresses = workspace.addresses(recipe, effort=effort)
    base = workspace.base_of(recipe)
    placement = Placement.of(base.model, workspace.base.model, effort=effort)
    unchanged: tuple[Candidate, int, list[StageRecord]] = (base, 0, [])
    candidate, done, stages = _restore(recipe, workspace, stage_addresses) if effort > 0 else unchanged
    trunk = None
    for position, step in enumerate(recipe.steps[done:], start=done):
        started = time.monotonic()
        report(step.name)
        device, address = placement.device_of(step), stage_addresses[position]
        device.reset_peak()
        candidate = placement.for_step(candidate, step)
        if step.family not in TRUNK and position == len(recipe.trunk):
            trunk = candidate.model
        if "teacher" in step.needs:
            candidate = _with_teacher(candidate, step, recipe, workspace, effort, trunk, peaks)
            candidate = placement.for_step(candidate, step)
        is_scored = step.recovers or (step.learns and not recipe.leaf)
        is_scored = is_scored and rungs is not None and address not in workspace.store
        watch = rungs if is_scored else None
        with watching(device) as used:
            candidate, reused = gpu_stage.beside_others(
                partial(_compute, step, candidate, address, workspace, effort, report, watch, tuple(stages)),
                device,
                stage=step.name,
                peak_bytes=peaks.get(step.name),
                waits=partial(report, f"{step.name}, waiting for memory of the GPU"),
            )
        saved = workspace.store.compute_seconds(address) if reused else 0.0
        seconds = time.monotonic() - started
        stages.append(stage_record(step.name, seconds, device, used(), reused=reused, saved=saved))
    return placement.for_scoring(candidate, recipe), tuple(stages)


def _with_teacher(
    candidate: Candidate,
    step: Strategy,
    recipe: Recipe,
    workspace: Workspace,
    effort: float,
    trunk: Any,
    peaks: Mapping[str, int],
) -> Candidate:
    """Return the candidate with the trained trunk, or that of the base model that the step names, as its teacher.

    ``trunk`` is the recipe's own, if it is at hand. Nothing is trained for a teacher at effort 0.
    """
    trunk_recipe = recipe.prefix(len(recipe.trunk))
    if step.other_base and effort > 0:
        label = workspace.experiment.recipe_model(getattr(step, step.other_base))
        larger = build(replace(trunk_recipe, model=label), workspace, effort=effort, peaks=peaks)[0]
        return replace(candidate, teacher=larger.model, teacher_tokenizer=larger.tokenizer)
    if trunk is None:
        trunk = build(trunk_recipe, workspace, effort=effort, peaks=peaks)[0].model
    return replace(candidate, teacher=trunk, teacher_tokenizer=None)


def _compute(
    step: Strategy,
    candidate: Candidate,
    address: str,
    workspace: Workspace,
    effort: float,
    report: Report,
    rungs: RungScorer | None,
    stages: Sequence[StageRecord],
    reserve: gpu_stage.Reserve,
) -> tuple[Candidate, bool]:
    """Return the candidate after the step, and whether it came from the store; ``rungs`` score its training."""

    def apply() -> Candidate:
        with reserve():
            return step.apply(candidate, effort=effort, seed=workspace.seed)

    if not step.is_stored() or effort == 0:
        return apply(), False
    scoring = rungs.watching(candidate, stages, recovers=step.recovers) if rungs is not None else nullcontext()
    with progress.reporting(_stage_progress(step.name, report)), scoring:
        return workspace.store.get_or_compute(address, candidate, apply)


def _stage_progress(stage: str, report: Report) -> progress.Report:
    return lambda done, total: report(f"{stage}, {done / total:.0%}")


def _restore(
    recipe: Recipe, workspace: Workspace, stage_addresses: list[str]
) -> tuple[Candidate, int, list[StageRecord]]:
    """Return the candidate after the longest stored prefix, its number of steps, and a record of each step."""
    for position in reversed(range(len(recipe.steps))):
        if not recipe.steps[position].is_stored() or stage_addresses[position] not in workspace.store:
            continue
        started = time.monotonic()
        prefix = recipe.steps[: position + 1]
        candidate = workspace.base_of(recipe)
        for step in prefix:
            if step.family is Family.AUGMENTATION:  # Augmented data are not stored with the model.
                candidate = step.apply(candidate, effort=1.0, seed=workspace.seed)
        restored = workspace.store.load(stage_addresses[position], candidate)
        if restored is not None:
            seconds = (time.monotonic() - started) / len(prefix)
            stages = [
                StageRecord(step.name, seconds, reused=True, saved=workspace.store.compute_seconds(address))
                for step, address in zip(prefix, stage_addresses, strict=False)
            ]
            return restored, len(prefix), stages
    return workspace.base_of(recipe), 0, []
