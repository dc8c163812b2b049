"""``autoopt status``, ``show`` and ``front``: what runs, one trial in full, the models that no other one beats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoopt.search.cli.options import command_line, console, json_option, print_json, root_option, studies_root

if TYPE_CHECKING:
    from autoopt.objectives.judging.budget import Limit
    from autoopt.search.report.tables import Row
    from autoopt.search.study.study_view import JudgedTrial, StudyView
    from autoopt.search.study.verification import Verified
    from autoopt.search.trial.record import TrialRecord

NOTHING_FEASIBLE = 3
ERROR_LINES = 12
"""So much of a failed trial's traceback is shown."""


@click.command(short_help="Show how far each study is.")
@click.argument("study", required=False)
@root_option
@json_option
def status(study: str | None, root: Path | None, as_json: bool) -> None:
    """Show the studies, or the one that is named: whether it runs, how far it is, what it has found."""
    from autoopt.search.api import open_study
    from autoopt.search.study.study_view import study_names

    home = studies_root(root)
    surveys = [open_study(name, root=home.path).view for name in ([study] if study else study_names(home))]
    if as_json:
        print_json([_status(found) for found in surveys])
    elif surveys:
        _print_status(surveys)
    else:
        click.echo(f"There is no study in {home.path} yet. To make one: autoopt search bbc-news")


def _status(found: StudyView) -> dict[str, Any]:
    return {
        "study": found.name,
        "state": found.phase.value,
        "held_by": found.held_by,
        "trials": found.counted,
        "asked": found.experiment.search.trials,
        "feasible": len(found.feasible),
        "best": found.best.to_json() if found.best else None,
        "baseline": found.baseline.to_json() if found.baseline else None,
        "verified": len(found.outcome.models) if found.outcome else None,
        "folder": str(found.folder.path),
    }


def _print_status(surveys: list[StudyView]) -> None:
    from autoopt.search.report import formats, tables
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.study.study_view import Phase

    out = console()
    shown = tables.table("study", "state", "trials", "feasible", "best feasible", "baseline")
    for found in surveys:
        trials = f"{found.counted} of {found.experiment.search.trials}"
        best, baseline = (
            f"{formats.summary(record.measurements)} (trial {record.number})" if record else formats.NOTHING
            for record in (found.best, found.baseline)
        )
        state = f"running: {found.held_by}" if found.held_by else found.phase.value
        shown.add_row(*map(plain_text, (found.name, state, trials, len(found.feasible), best, baseline)))
    out.print(shown)
    for found in surveys:
        if found.phase is Phase.INTERRUPTED:
            again = command_line("search", found.folder.experiment, root=found.folder.path.parent.parent)
            click.echo(f"To go on with {found.name}: {again}")


@click.command(short_help="Show one trial in full.")
@click.argument("study")
@click.argument("trial", type=click.IntRange(min=0))
@root_option
@json_option
def show(study: str, trial: int, root: Path | None, as_json: bool) -> None:
    """Show one trial in full: its recipe, what was measured, what each stage took, why it failed."""
    from autoopt.search.api import open_study
    from autoopt.search.study.outcome import verified_json

    found = open_study(study, root=studies_root(root).path).view
    record = found.trial(trial)
    error = found.folder.trial(trial) / "error.txt"
    trace = error.read_text(encoding="utf-8", errors="replace") if error.is_file() else ""
    if as_json:
        model, verified = found.folder.model(trial), found.verified(trial)
        print_json(
            {
                **record.to_json(),
                "feasible": record.feasible,
                "error": trace,
                "model": _if_there(model),
                "verified": verified_json(verified) if verified else None,
                "predictions": _if_there(found.folder.predictions(trial)),
            }
        )
    else:
        _print_trial(record, found, trace)


def _if_there(path: Path) -> str | None:
    return str(path) if path.exists() else None


def _print_trial(record: TrialRecord, found: StudyView, trace: str) -> None:
    from autoopt.search.report import formats, tables
    from autoopt.search.report.sanitize import plain_text

    out = console()
    about = (
        f"{found.name}, trial {record.number}: {tables.verdict(record)}; it took {formats.seconds_of(record.seconds)}"
    )
    out.print(plain_text(about), soft_wrap=True)
    out.print(tables.steps(record.recipe))
    if record.measurements:
        out.print(tables.measurements(record.measurements))
    if record.rungs:
        reached = ", ".join(f"{quality:.4g} {rung}" for rung, quality in record.rungs.items())
        out.print(plain_text(f"quality on its way: {reached}"), soft_wrap=True)
    if verified := found.verified(record.number):
        _print_verified(verified, found)
    if record.violations:
        limits = tables.table("budget", "")
        for limit, over in record.violations.items():
            limits.add_row(plain_text(limit), f"missed by {over:.1%}" if over > 0 else "met")
        out.print(limits)
    if record.stages:
        out.print(tables.stages(record))
    for line in trace.splitlines()[-ERROR_LINES:]:
        out.print(plain_text(line), soft_wrap=True)
    for path in (found.folder.kept_model(record.number), found.folder.model(record.number)):
        if path.is_dir():
            click.echo(f"Its model: {path}")
            break


def _print_verified(model: Verified, found: StudyView) -> None:
    from autoopt.search.report import formats, tables
    from autoopt.search.report.sanitize import plain_text

    searched = found.trial(model.record.number).measurements
    again = {name: item for name, item in model.measurements.items() if item != searched.get(name)}
    out = console()
    out.print(tables.measurements(again, title="Verified: measured again from the saved model, and on the test split"))
    if model.difference:
        quality = formats.share(model.test.get("test_quality"))
        out.print(plain_text(f"test {quality}, {' '.join(formats.to_baseline(model.difference))}"), soft_wrap=True)
    if model.seeds:
        out.print(plain_text(", ".join(formats.seeds(model.seeds))), soft_wrap=True)
    reference = found.outcome.baseline.gap if found.outcome else None
    if remark := formats.gap(model.gap, reference):
        out.print(plain_text(remark), soft_wrap=True)


@click.command(short_help="Show the models that no other one beats.")
@click.argument("study")
@click.option(
    "--budget", "budgets", multiple=True, metavar="LIMIT", help="Another limit, such as 'latency_p95<=8ms'; repeatable."
)
@root_option
@json_option
def front(study: str, budgets: tuple[str, ...], root: Path | None, as_json: bool) -> None:
    """Show the verified front of a study, or what its stored trials give within another budget.

    With --budget nothing is trained or measured: the limits that are given take the place of the study's own. Exit
    code 3 where nothing is within them.
    """
    from autoopt.objectives.judging.budget import Limit
    from autoopt.search.api import open_study

    limits = [Limit.parse(budget) for budget in budgets]
    found = open_study(study, root=studies_root(root).path).view
    there = _answered(found, limits, as_json=as_json) if limits else _verified(found, as_json=as_json)
    if not there:
        click.get_current_context().exit(NOTHING_FEASIBLE)


def _verified(found: StudyView, *, as_json: bool) -> bool:
    from autoopt.search.report import formats, tables
    from autoopt.strategies.errors import UnknownName

    outcome = found.outcome
    if outcome is None:
        again = command_line("search", found.folder.experiment, root=found.folder.path.parent.parent)
        raise UnknownName(
            f"the study '{found.name}' has no verified front yet ({found.phase.value}, {found.counted} of "
            f"{found.experiment.search.trials} trials); finish it with '{again}', or ask with --budget"
        )
    if as_json:
        print_json(outcome.to_json())
        return bool(outcome.models)
    rows, baseline = tables.outcome_rows(outcome)
    _print_rows(rows, baseline, f"{found.name}: {len(outcome.models)} verified models")
    if not outcome.models and outcome.failed:
        record = outcome.failed[0].record
        misses = formats.excess(record.violations)
        click.echo(f"Nothing is within the budgets; the nearest, trial {record.number}, misses {misses}", err=True)
    return bool(outcome.models)


def _answered(found: StudyView, limits: list[Limit], *, as_json: bool) -> bool:
    from autoopt.search.report import formats
    from autoopt.search.trial.record import State

    answers, nearest = found.front_within(limits), found.nearest(limits)
    if as_json:
        print_json(
            {
                "study": found.name,
                "budget": [limit.text for limit in limits],
                "models": [_answer(answer, found) for answer in answers],
                "nearest": _answer(nearest, found) if nearest and not answers else None,
                "baseline": found.baseline.to_json() if found.baseline else None,
            }
        )
        return bool(answers)
    shown = answers or ([nearest] if nearest else [])
    if shown and found.baseline:
        rows, baseline = [_row(answer, found) for answer in shown], _baseline_row(found.baseline, found)
        _print_rows(rows, baseline, f"{found.name}: {_and(limits)}")
    if not answers:
        misses = formats.excess(nearest.record.violations) if nearest else "all: no trial is complete"
        which = f"the nearest, trial {nearest.record.number}," if nearest else "it"
        click.echo(f"No stored trial is within this budget; {which} misses {misses}", err=True)
    untrained = sum(record.state is State.REJECTED for record in found.records)
    if untrained:
        click.echo(
            f"Not among these, since never trained: {untrained} over the study's own budget by their shape alone."
        )
    return bool(answers)


def _answer(answer: JudgedTrial, found: StudyView) -> dict[str, Any]:
    from autoopt.search.study.outcome import verified_json

    more = verified_json(answer.verified) if answer.verified else {"test": {}}
    return {
        **answer.record.to_json(),
        "verified": answer.verified is not None,
        **{name: value for name, value in more.items() if name != "record"},
        "model": _if_there(found.folder.model(answer.record.number)),
    }


def _row(answer: JudgedTrial, found: StudyView) -> Row:
    from autoopt.search.report.tables import Row

    if answer.verified is None:
        return Row(answer.record.number, str(answer.record.recipe), answer.measurements, ("as searched",))
    return Row.of(answer.verified, ("verified",), baseline=found.outcome.baseline if found.outcome else None)


def _baseline_row(record: TrialRecord, found: StudyView) -> Row:
    from autoopt.search.report.tables import Row

    if found.outcome is not None:
        return Row.of(found.outcome.baseline, ("baseline",), baseline=found.outcome.baseline)
    return Row(record.number, str(record.recipe), record.measurements, ("baseline",))


def _print_rows(rows: list[Row], baseline: Row, title: str) -> None:
    from autoopt.search.report import tables

    out = console()
    out.print(tables.front(rows, baseline, width=out.width, title=title))


def _and(limits: list[Limit]) -> str:
    return " and ".join(limit.text for limit in limits)
