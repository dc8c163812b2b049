"""``autoopt status``, ``show`` and ``front``: the progress of studies, one trial in detail, the Pareto front."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoopt.search.cli.options import (
    NOTHING_FEASIBLE,
    command_line,
    console,
    json_option,
    print_json,
    root_option,
    studies_root,
)

if TYPE_CHECKING:
    from autoopt.objectives.judging.budget import Limit
    from autoopt.search.report.tables import Row
    from autoopt.search.study.study_view import JudgedTrial, StudyView
    from autoopt.search.study.verification import Verified
    from autoopt.search.trial.record import TrialRecord

TRACEBACK_LINES = 12
"""Number of lines shown of a failed trial's traceback."""


@click.command(short_help="Show the progress of studies.")
@click.argument("study", required=False)
@root_option
@json_option
def status(study: str | None, root: Path | None, as_json: bool) -> None:
    """Show the state, the progress and the best trial of STUDY, or of every study."""
    from autoopt.search.api import open_study
    from autoopt.search.study.study_view import study_names

    home = studies_root(root)
    views = [open_study(name, root=home.path).view for name in ([study] if study else study_names(home))]
    if as_json:
        print_json([_status_json(view) for view in views])
    elif views:
        _print_status(views)
    else:
        click.echo(f"There are no studies in {home.path}. To run one: autoopt search bbc-news")


def _status_json(view: StudyView) -> dict[str, Any]:
    return {
        "study": view.name,
        "state": view.phase.value,
        "held_by": view.held_by,
        "trials": view.counted,
        "asked": view.experiment.search.trials,
        "feasible": len(view.feasible),
        "best": view.best.to_json() if view.best else None,
        "baseline": view.baseline.to_json() if view.baseline else None,
        "verified": len(view.outcome.models) if view.outcome else None,
        "folder": str(view.folder.path),
    }


def _print_status(views: list[StudyView]) -> None:
    from autoopt.search.report.formats import NOT_MEASURED, format_summary
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.tables import describe_trial, new_table
    from autoopt.search.study.study_view import Phase

    table = new_table("study", "state", "trials", "feasible", "best feasible", "baseline")
    for view in views:
        trials = f"{view.counted} of {view.experiment.search.trials}"
        best, baseline = (
            f"{format_summary(record.measurements)} ({describe_trial(record)})" if record else NOT_MEASURED
            for record in (view.best, view.baseline)
        )
        state = f"running: {view.held_by}" if view.held_by else view.phase.value
        table.add_row(*map(plain_text, (view.name, state, trials, len(view.feasible), best, baseline)))
    console().print(table)
    for view in views:
        if view.phase is Phase.INTERRUPTED:
            click.echo(f"To resume {view.name}: {_resume_command(view)}")


def _resume_command(view: StudyView) -> str:
    return command_line("search", view.folder.experiment, root=view.folder.path.parent.parent)


@click.command(short_help="Show one trial in detail.")
@click.argument("study")
@click.argument("name", metavar="TRIAL")
@root_option
@json_option
def show(study: str, name: str, root: Path | None, as_json: bool) -> None:
    """Show the recipe, the measurements, the stages and any error of a trial of STUDY.

    TRIAL is its number, 'baseline', or a name of the front: champion, fastest, smallest or balanced.
    """
    from autoopt.search.api import open_study
    from autoopt.search.study.outcome import verified_json

    view = open_study(study, root=studies_root(root).path).view
    trial = view.number_of(name)
    record = view.trial(trial)
    error_file = view.folder.trial(trial) / "error.txt"
    traceback = error_file.read_text(encoding="utf-8", errors="replace") if error_file.is_file() else ""
    if as_json:
        verified = view.verified(trial)
        print_json(
            {
                **record.to_json(),
                "base_model": view.experiment.base_model_of(record.recipe.model),
                "feasible": record.feasible,
                "error": traceback,
                "model": _existing_path(view.folder.model(trial)),
                "verified": verified_json(verified) if verified else None,
                "predictions": _existing_path(view.folder.predictions(trial)),
            }
        )
    else:
        _print_trial(record, view, traceback)


def _existing_path(path: Path) -> str | None:
    return str(path) if path.exists() else None


def _print_trial(record: TrialRecord, view: StudyView, traceback: str) -> None:
    from autoopt.search.report.formats import format_seconds
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.tables import (
        describe_state,
        limits_table,
        measurements_table,
        recipe_table,
        stages_table,
    )

    out = console()
    title = f"{view.name}, trial {record.number}: {describe_state(record)}; took {format_seconds(record.seconds)}"
    out.print(plain_text(title), soft_wrap=True)
    if len(view.experiment.base_models) > 1:
        out.print(plain_text(f"base model: {view.experiment.base_model_of(record.recipe.model)}"), soft_wrap=True)
    out.print(recipe_table(record.recipe))
    if record.measurements:
        out.print(measurements_table(record.measurements))
    if record.rungs:
        rungs = ", ".join(f"{quality:.4g} {rung}" for rung, quality in record.rungs.items())
        out.print(plain_text(f"quality at rungs: {rungs}"), soft_wrap=True)
    if verified := view.verified(record.number):
        _print_verified(verified, view)
    if record.violations:
        out.print(limits_table(record.violations))
    if record.stages:
        out.print(stages_table(record))
    for line in traceback.splitlines()[-TRACEBACK_LINES:]:
        out.print(plain_text(line), soft_wrap=True)
    for path in (view.folder.kept_model(record.number), view.folder.model(record.number)):
        if path.is_dir():
            click.echo(f"Model: {path}")
            break


def _print_verified(model: Verified, view: StudyView) -> None:
    from autoopt.search.report.formats import describe_gap, format_difference, format_percentage, format_seeds
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.tables import measurements_table

    in_search = view.trial(model.record.number).measurements
    repeated = {name: item for name, item in model.measurements.items() if item != in_search.get(name)}
    lines = []
    if model.difference:
        quality = format_percentage(model.test.get("test_quality"))
        lines.append(f"test {quality}, {' '.join(format_difference(model.difference))}")
    if model.seeds:
        lines.append(", ".join(format_seeds(model.seeds)))
    lines.append(describe_gap(model.gap, view.outcome.baseline.gap if view.outcome else None))
    out = console()
    out.print(measurements_table(repeated, title="Verified: measured from the saved model, and on the test split"))
    for line in filter(None, lines):
        out.print(plain_text(line), soft_wrap=True)


@click.command(short_help="Show the Pareto front of a study.")
@click.argument("study")
@click.option(
    "--budget", "budgets", multiple=True, metavar="LIMIT", help="Limit such as 'latency_p95<=8ms'; repeatable."
)
@root_option
@json_option
def front(study: str, budgets: tuple[str, ...], root: Path | None, as_json: bool) -> None:
    """Show the verified Pareto front of STUDY.

    With --budget, show the front of the stored trials under these limits instead of the study's own; nothing is
    trained or measured. The exit code is 3 if no model is within the limits.
    """
    from autoopt.objectives.judging.budget import Limit
    from autoopt.search.api import open_study

    limits = [Limit.parse(budget) for budget in budgets]
    view = open_study(study, root=studies_root(root).path).view
    view.check_measured(limits)
    is_feasible = _print_rejudged(view, limits, as_json=as_json) if limits else _print_front(view, as_json=as_json)
    if not is_feasible:
        click.get_current_context().exit(NOTHING_FEASIBLE)


def _print_front(view: StudyView, *, as_json: bool) -> bool:
    """Print the verified front and return whether it holds a model."""
    from autoopt.search.report.formats import format_count, format_violations
    from autoopt.search.report.tables import outcome_rows
    from autoopt.strategies.errors import UnknownName

    outcome = view.outcome
    if outcome is None:
        trials = f"{view.counted} of {format_count(view.experiment.search.trials, 'trial')}"
        raise UnknownName(
            f"the study '{view.name}' has no verified front yet ({view.phase.value}, {trials}); "
            f"finish it with '{_resume_command(view)}', or use --budget"
        )
    if as_json:
        print_json(outcome.to_json())
        return bool(outcome.models)
    rows, baseline = outcome_rows(outcome)
    _print_rows(rows, baseline, view, f"{view.name}: {format_count(len(outcome.models), 'verified model')}")
    if not outcome.models and outcome.failed:
        nearest = outcome.failed[0].record
        missed = format_violations(nearest.violations)
        click.echo(f"No model is within the budgets; trial {nearest.number}, the nearest, misses {missed}", err=True)
    return bool(outcome.models)


def _print_rejudged(view: StudyView, limits: list[Limit], *, as_json: bool) -> bool:
    """Print the front of the stored trials under ``limits`` and return whether it holds a model."""
    from autoopt.search.report.formats import format_count
    from autoopt.search.trial.record import State

    trials, nearest = view.front_within(limits), view.nearest(limits)
    if as_json:
        print_json(
            {
                "study": view.name,
                "budget": [limit.text for limit in limits],
                "models": [_judged_json(trial, view) for trial in trials],
                "nearest": _judged_json(nearest, view) if nearest and not trials else None,
                "baseline": view.baseline.to_json() if view.baseline else None,
            }
        )
        return bool(trials)
    if (displayed := trials or ([nearest] if nearest else [])) and view.baseline:
        rows, baseline = [_judged_row(trial, view) for trial in displayed], _baseline_row(view.baseline, view)
        _print_rows(rows, baseline, view, f"{view.name}: {' and '.join(limit.text for limit in limits)}")
    if not trials:
        click.echo(f"No stored trial is within this budget; {_describe_nearest(nearest)}", err=True)
    if untrained := sum(record.state is State.REJECTED for record in view.records):
        rejected = format_count(untrained, "trial")
        click.echo(f"Not included: {rejected} that the study's own budget rejected before training.")
    return bool(trials)


def _describe_nearest(nearest: JudgedTrial | None) -> str:
    from autoopt.search.report.formats import format_violations

    if nearest is None:
        return "no trial is complete"
    return f"the nearest, trial {nearest.record.number}, misses {format_violations(nearest.record.violations)}"


def _judged_json(trial: JudgedTrial, view: StudyView) -> dict[str, Any]:
    from autoopt.search.study.outcome import verified_json

    verification = verified_json(trial.verified) if trial.verified else {"test": {}}
    return {
        **trial.record.to_json(),
        "verified": trial.verified is not None,
        **{name: value for name, value in verification.items() if name != "record"},
        "model": _existing_path(view.folder.model(trial.record.number)),
    }


def _judged_row(trial: JudgedTrial, view: StudyView) -> Row:
    from autoopt.search.report.tables import Row

    if trial.verified is None:
        return Row.from_record(trial.record, ("not verified",))
    baseline = view.outcome.baseline if view.outcome else None
    return Row.from_verified(trial.verified, ("verified",), baseline=baseline)


def _baseline_row(record: TrialRecord, view: StudyView) -> Row:
    from autoopt.search.report.tables import Row

    if view.outcome is not None:
        return Row.from_verified(view.outcome.baseline, ("baseline",), baseline=view.outcome.baseline)
    return Row.from_record(record, ("baseline",))


def _print_rows(rows: list[Row], baseline: Row, view: StudyView, title: str) -> None:
    from autoopt.search.report.tables import front_table

    out, models = console(), list(view.experiment.base_models)
    out.print(front_table(rows, baseline, width=out.width, title=title, base_models=models))
