"""``autoopt search``: run or resume a study with its progress, and print its front."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoopt.search.cli.options import (
    NOTHING_FEASIBLE,
    command_line,
    console,
    json_option,
    note_on_failure,
    overrides_option,
    print_json,
    root_option,
    warn,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from autoopt.objectives.summary import DataSummary
    from autoopt.search.experiment.experiment import Experiment
    from autoopt.search.paths import Root, StudyFolder
    from autoopt.search.space.space import Space
    from autoopt.search.study.lifecycle import Audience
    from autoopt.search.study.outcome import Outcome
    from autoopt.search.trial.record import TrialRecord


@dataclass(frozen=True)
class Invocation:
    """Arguments of the command as typed."""

    file: str
    overrides: tuple[str, ...]
    trials: int | None
    timeout: str | None
    max_compute: str | None
    no_warm_start: bool
    root: Path | None

    def command(self) -> str:
        """Return the command that repeats this invocation."""
        return command_line(
            "search",
            self.file,
            set=self.overrides,
            trials=self.trials,
            timeout=self.timeout,
            max_compute=self.max_compute,
            no_warm_start=self.no_warm_start,
            root=self.root,
        )

    def load(self) -> Experiment:
        from autoopt.search.experiment.experiment import load_experiment

        options = {"trials": self.trials, "timeout": self.timeout, "max_compute": self.max_compute}
        overrides = [f"search.{name}={value}" for name, value in options.items() if value is not None]
        warm_start = ["search.warm_start=false"] if self.no_warm_start else []
        return load_experiment(self.file, [*self.overrides, *overrides, *warm_start])


@click.command(short_help="Run a search or resume an interrupted one.")
@click.argument("file")
@overrides_option
@click.option("--trials", type=click.IntRange(min=1), help="Total number of trials (sets search.trials).")
@click.option("--timeout", metavar="TIME", help="Stop after a time such as 10m (sets search.timeout).")
@click.option(
    "--max-compute", metavar="TIME", help="Stop after a total compute time of all trials (sets search.max_compute)."
)
@click.option("--no-warm-start", is_flag=True, help="Do not start from recipes of earlier studies.")
@root_option
@json_option
def search(
    file: str,
    overrides: tuple[str, ...],
    trials: int | None,
    timeout: str | None,
    max_compute: str | None,
    no_warm_start: bool,
    root: Path | None,
    as_json: bool,
) -> None:
    """Run a search, or resume an interrupted one.

    FILE is an experiment file or the name of a built-in example such as bbc-news. Progress is printed to stderr, the
    front to stdout. Trials that have ended are never repeated.

    \b
    Exit codes:
      0         a model within the budgets was found
      2         the experiment, the data or the model is invalid
      3         no model is within the budgets; the least violating one is kept
      4         the baseline or every trial failed
      5         the machine or a service is at fault
      130, 143  interrupted
    """
    from autoopt.search import api
    from autoopt.search.study.assembly import root_of

    started_at = time.monotonic()
    invocation = Invocation(file, overrides, trials, timeout, max_compute, no_warm_start, root)
    experiment = invocation.load()
    home = root_of(experiment, root)
    folder = home.study(experiment.study)
    with note_on_failure(partial(_how_to_go_on, folder, invocation), folder=folder.path):
        progress = partial(_progress, started_at)
        result = api.search(experiment, root=home.path, progress=progress, warn=warn, describe=_describe)
    outcome = result.outcome
    assert outcome is not None  # noqa: S101 - a search that returns has verified its front
    if as_json:
        print_json(_document(outcome, home))
    else:
        _print_front(outcome)
    _print_next_steps(outcome, home, invocation, to_stderr=as_json)
    if not outcome.models:
        click.get_current_context().exit(NOTHING_FEASIBLE)


def _how_to_go_on(folder: StudyFolder, invocation: Invocation) -> str:
    """Say how to go on after a failure, and where the ended trials are, if there are any."""
    from autoopt.search.study.outcome import has_ended_trials

    kept = f"Trials that have ended are kept in {folder.path}. " if has_ended_trials(folder) else ""
    return f"{kept}{'To resume' if folder.experiment.is_file() else 'To try again'}: {invocation.command()}"


def _describe(summary: DataSummary) -> None:
    """Show on stderr what was understood of the data."""
    from autoopt.search.report.data_tables import print_data

    print_data(summary, console(stderr=True))


def _progress(started_at: float, experiment: Experiment, space: Space) -> AbstractContextManager[Audience]:
    """Show the progress of the search on stderr; ``started_at`` is ``time.monotonic()`` of the command's start."""
    from autoopt.search.experiment.opening import directions
    from autoopt.search.report.live import SearchInfo, show_progress
    from autoopt.search.space.start_design import baseline

    timeout = experiment.search.timeout
    info = SearchInfo(
        study=experiment.study,
        trials=experiment.search.trials,
        timeout_s=timeout and timeout - (time.monotonic() - started_at),
        baseline_id=baseline(space).id,
        objectives=directions(experiment),
    )
    return show_progress(info, console(stderr=True))


def _document(outcome: Outcome, root: Root) -> dict[str, object]:
    return {
        "feasible": bool(outcome.models),
        "folder": str(root.study(outcome.study).path),
        "pull": _pull_command(outcome, root),
        **outcome.to_json(),
    }


def _print_front(outcome: Outcome) -> None:
    from autoopt.search.report.formats import format_count
    from autoopt.search.report.tables import front_table, outcome_rows

    out = console()
    rows, baseline = outcome_rows(outcome)
    count = len(outcome.models)
    models = format_count(count, "verified model") if count else "no model is within the budgets"
    title = f"{outcome.study}: {models}"
    out.print(front_table(rows, baseline, width=out.width, title=title, base_models=outcome.base_models))


def _print_next_steps(outcome: Outcome, root: Root, invocation: Invocation, *, to_stderr: bool) -> None:
    from autoopt.search.report.formats import format_clock
    from autoopt.search.report.sanitize import printable

    if outcome.doubt:
        warn(outcome.doubt)
    if outcome.stopped_because:
        click.echo(f"The search ended early: {printable(outcome.stopped_because)}.", err=True)
    if outcome.saved_s >= 1:
        total = outcome.compute_s + outcome.saved_s
        click.echo(
            f"The trials computed for {format_clock(outcome.compute_s)}; reused stages saved another "
            f"{format_clock(outcome.saved_s)} ({outcome.saved_s / total:.0%} of the total).",
            err=True,
        )
    if not outcome.models:
        _print_nearest(outcome, root, invocation)
    elif command := _pull_command(outcome, root):
        click.echo(f"To pull the best model:\n  {command}", err=to_stderr)
    else:
        models = root.study(outcome.study).models
        click.echo(
            f"The models are in {models} but not registered in MLflow. To register them: "
            f"{command_line('sync', outcome.study, root=_unusual_root(root))}",
            err=True,
        )


def _print_nearest(outcome: Outcome, root: Root, invocation: Invocation) -> None:
    """Say which model violates the budgets least, where it is, and how to continue."""
    from autoopt.search.report.formats import format_violations

    folder = root.study(outcome.study)
    nearest = (outcome.failed or (outcome.baseline,))[0].record
    violations = format_violations(nearest.violations) or "no budget, but it is the baseline itself"
    model = next(path for path in (folder.kept_model(nearest.number), folder.model(nearest.number)) if path.is_dir())
    longer = replace(invocation, trials=2 * (invocation.trials or invocation.load().search.trials))
    click.echo(
        f"Error: no model is within the budgets; the nearest, trial {nearest.number}, misses {violations}.", err=True
    )
    click.echo(f"That model is in {model}. To search with more trials: {longer.command()}", err=True)
    if budget := _relaxed_budget(nearest):
        looser = command_line("front", outcome.study, budget=budget, root=_unusual_root(root))
        click.echo(f"To apply another budget to the stored trials, such as one that it meets: {looser}", err=True)


def _relaxed_budget(record: TrialRecord) -> list[str]:
    """Return the study's budget with the limits relaxed that a trial violates; empty if no such budget exists."""
    from autoopt.objectives.judging.budget import Limit

    budget = []
    for text, violation in record.violations.items():
        limit: Limit | None = Limit.parse(text)
        if limit is not None and violation > 0:
            limit = limit.relaxed_by(violation) if limit.metric in record.measurements else None
        if limit is None:
            return []
        budget.append(limit.text)
    return budget


def _pull_command(outcome: Outcome, root: Root) -> str:
    """Return the command that pulls the champion; empty if the champion is not registered."""
    champion = outcome.champion
    if champion is None or champion.record.number not in outcome.versions:
        return ""
    return command_line("pull", f"{outcome.study}@champion", "-o", "champion", root=_unusual_root(root))


def _unusual_root(root: Root) -> Path | None:
    """Return the root if it is not the default one, else None."""
    from autoopt.search.paths import default_root

    return None if root.path == default_root() else root.path
