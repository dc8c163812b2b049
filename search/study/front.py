"""The verified front of a search: measure its models again, rank them, and keep their files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence

from autoopt.objectives.measurement import Direction
from autoopt.search.choosing.front import aliases, by_worth, losses, pareto
from autoopt.search.experiment.experiment import Experiment
from autoopt.search.experiment.opening import directions
from autoopt.search.paths import StudyFolder
from autoopt.search.study.outcome import Outcome, read_front
from autoopt.search.study.verdicts import judge_verified
from autoopt.search.study.verification import Verified, verify
from autoopt.search.trial.rebuild import damage_of, rebuild_damaged
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.errors import CorruptArtefact
from autoopt.strategies.system.checked_files import put_aside
from autoopt.strategies.system.files import whole_folder


def verify_front(
    records: Sequence[TrialRecord],
    baseline: TrialRecord,
    folder: StudyFolder,
    experiment: Experiment,
    *,
    say: Callable[[str], None],
    observe: Callable[[Verified], None],
    seconds: float | None = None,
) -> Outcome:
    """Verify the front in a fresh process; the least violating model if no trial is feasible.

    With ``seconds`` left for the search, calls are timed less often, and models are left out if that is not enough,
    those that are missed least. An earlier outcome is returned unchanged if the front has not changed since, so that
    the test split is not opened twice.
    """
    complete = [record for record in records if record.state is State.COMPLETE]
    objectives = directions(experiment)
    front = without_twins(pareto([record for record in complete if record.feasible], objectives), objectives)
    others = [record for record in complete if record.number != baseline.number]
    candidates = front or sorted(others, key=lambda record: record.total_violation)[:1]
    earlier = _read_earlier(folder, say)
    if earlier and earlier.tried == {record.number for record in candidates}:
        return earlier
    again = by_worth([record for record in candidates if record.number != baseline.number], objectives)
    rebuild_damaged(folder, [record.number for record in (baseline, *again)], say)
    say(f"verifying the front in a fresh process, models to measure: {len(candidates)}")
    verified: list[Verified] = []
    for model in verify(folder, baseline, again, say=say, seconds=seconds):
        judged = judge_verified(model, verified[0] if verified else model, experiment.budget)
        observe(judged)
        verified.append(judged)
    done = {model.record.number for model in verified}
    if missing := [str(record.number) for record in again if record.number not in done]:
        say(f"no time was left to verify trial {', '.join(missing)}; a longer timeout leaves more")
    return _outcome(experiment, verified, {record.number for record in candidates} & done)


def without_twins(records: Sequence[TrialRecord], objectives: Mapping[str, Direction]) -> list[TrialRecord]:
    """Return the trials without those that have the objectives, and about the size, of one of fewer steps.

    A step that changed nothing leaves the same answers in the same time: the recipe without it says what was done.
    """
    simplest: dict[tuple[float, ...], TrialRecord] = {}
    for record in records:
        size = record.measurements.get("size")
        key = (*losses(record, objectives), float(f"{size.value:.3g}") if size else 0.0)
        simplest[key] = min(simplest.get(key, record), record, key=lambda each: (len(each.recipe.steps), each.number))
    return [record for record in records if record in simplest.values()]


def _read_earlier(folder: StudyFolder, say: Callable[[str], None]) -> Outcome | None:
    try:
        return read_front(folder.front)
    except CorruptArtefact as error:
        say(f"{error}; it is now {put_aside(folder.front).name}, and the front is verified again")
        return None


def _outcome(experiment: Experiment, verified: Sequence[Verified], candidates: set[int]) -> Outcome:
    """Rank the verified models, of which the first is the baseline."""
    objectives = directions(experiment)
    tried = [model for model in verified if model.record.number in candidates]
    feasible = [model for model in tried if model.feasible]
    models = sorted(pareto(feasible, objectives), key=lambda model: losses(model, objectives))
    infeasible = [model for model in tried if not model.feasible]
    return Outcome(
        study=experiment.study,
        baseline=verified[0],
        models=tuple(models),
        named={alias: model.record.number for alias, model in aliases(models, objectives).items()},
        failed=tuple(sorted(infeasible, key=lambda model: model.record.total_violation)),
        beaten=tuple(model for model in feasible if model not in models),
        base_models=tuple(experiment.base_models) if len(experiment.base_models) > 1 else (),
    )


def keep_models(outcome: Outcome, folder: StudyFolder) -> None:
    """Make ``models/`` hold the verified front, or the least violating model if the front is empty.

    ``predictions/`` then has one file for each verified model and none of an earlier front.
    """
    models = outcome.models or outcome.failed[:1]
    folder.models.mkdir(exist_ok=True)
    sources = {folder.kept_model(model.record.number): folder.model(model.record.number) for model in models}
    for path in folder.models.iterdir():
        if path not in sources:
            shutil.rmtree(path)
    for path, source in sources.items():
        if damage_of(path):  # It may also not be there yet.
            with whole_folder(path) as work:
                shutil.copytree(source, work, dirs_exist_ok=True)
    current = {folder.predictions(number) for number in {*outcome.tried, outcome.baseline.record.number}}
    for path in set(folder.all_predictions.glob("*")) - current:
        path.unlink()
