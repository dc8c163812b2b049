"""``autoopt search``: run or resume a study, show it as it goes on, and end with its front."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoopt.search.cli.options import (
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

    from autoopt.search.experiment.experiment import Experiment
    from autoopt.search.paths import Root
    from autoopt.search.space.space import Space
    from autoopt.search.study.lifecycle import Audience
    from autoopt.search.study.outcome import Outcome

NOTHING_FEASIBLE = 3


@dataclass(frozen=True)
class Invocation:
    """What was typed."""

    file: str
    overrides: tuple[str, ...]
    trials: int | None
    timeout: str | None
    max_compute: str | None
    no_warm_start: bool
    root: Path | None

    def line(self) -> str:
        """The command that does the same again."""
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

        trials = [] if self.trials is None else [f"search.trials={self.trials}"]
        timeout = [] if self.timeout is None else [f"search.timeout={self.timeout}"]
        compute = [] if self.max_compute is None else [f"search.max_compute={self.max_compute}"]
        warm = ["search.warm_start=false"] if self.no_warm_start else []
        return load_experiment(self.file, [*self.overrides, *trials, *timeout, *compute, *warm])


@click.command(short_help="Run a search, or go on with an interrupted one.")
@click.argument("file")
@overrides_option
@click.option("--trials", type=click.IntRange(min=1), help="How many trials in all: --set search.trials=N.")
@click.option("--timeout", metavar="TIME", help="Stop after a time such as 10m: --set search.timeout=TIME.")
@click.option(
    "--max-compute", metavar="TIME", help="Stop once the trials together worked so long: --set search.max_compute=TIME."
)
@click.option("--no-warm-start", is_flag=True, help="Take nothing from earlier studies: --set search.warm_start=false.")
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
    """Run a search, or go on with one that was interrupted.

    FILE is an experiment file or the name of a built-in example, such as bbc-news. Progress goes to stderr, the front
    that was found to stdout.

    Exit codes: 0 a model within the budgets was found; 2 the experiment, the data or the model is wrong; 3 nothing is
    within the budgets, the least violating model is kept; 4 every trial or the baseline failed; 5 the machine or a
    service does not allow it; 130 or 143 interrupted.
    """
    from autoopt.search import api
    from autoopt.search.study.assembly import root_of

    typed = Invocation(file, overrides, trials, timeout, max_compute, no_warm_start, root)
    experiment = typed.load()
    home = root_of(experiment, root)
    folder = home.study(experiment.study).path
    with note_on_failure(f"Every trial that ended is kept in {folder}. To go on: {typed.line()}"):
        result = api.search(experiment, root=home.path, progress=_progress, warn=warn)
    outcome = result.outcome
    assert outcome is not None  # noqa: S101 - a search that returns has verified its front
    if as_json:
        print_json(_document(outcome, home))
    else:
        _print_front(outcome)
    _say_what_next(outcome, home, typed, to_stderr=as_json)
    if not outcome.models:
        click.get_current_context().exit(NOTHING_FEASIBLE)


def _progress(experiment: Experiment, space: Space) -> AbstractContextManager[Audience]:
    """Show the search on stderr as it runs."""
    from autoopt.search.experiment.opening import directions
    from autoopt.search.report.live import Plan, watching
    from autoopt.search.space.start_design import baseline

    plan = Plan(
        study=experiment.study,
        trials=experiment.search.trials,
        timeout_s=experiment.search.timeout,
        baseline_id=baseline(space).id,
        objectives=directions(experiment),
    )
    return watching(plan, console(stderr=True))


def _document(outcome: Outcome, root: Root) -> dict[str, object]:
    return {
        "feasible": bool(outcome.models),
        "folder": str(root.study(outcome.study).path),
        "pull": _pull_command(outcome, root),
        **outcome.to_json(),
    }


def _print_front(outcome: Outcome) -> None:
    from autoopt.search.report import tables

    out = console()
    rows, baseline = tables.outcome_rows(outcome)
    count = len(outcome.models)
    found = f"{count} verified model{'s' * (count != 1)}" if count else "nothing is within the budgets"
    out.print(tables.front(rows, baseline, width=out.width, title=f"{outcome.study}: {found}"))


def _say_what_next(outcome: Outcome, root: Root, typed: Invocation, *, to_stderr: bool) -> None:
    from autoopt.search.report.formats import clock
    from autoopt.search.report.sanitize import printable

    if outcome.stopped_because:
        click.echo(f"The search ended early: {printable(outcome.stopped_because)}.", err=True)
    if outcome.saved_s >= 1:
        whole = outcome.compute_s + outcome.saved_s
        click.echo(
            f"The trials worked {clock(outcome.compute_s)}; reuse of what others had computed saved "
            f"{clock(outcome.saved_s)} more, {outcome.saved_s / whole:.0%} of the whole.",
            err=True,
        )
    if not outcome.models:
        _say_what_blocks(outcome, root, typed)
    elif command := _pull_command(outcome, root):
        click.echo(f"To take the best one:\n  {command}", err=to_stderr)
    else:
        models = root.study(outcome.study).models
        click.echo(f"The models are in {models}; MLflow lacks them. To register them: {typed.line()}", err=True)


def _say_what_blocks(outcome: Outcome, root: Root, typed: Invocation) -> None:
    from autoopt.search.report import formats

    folder = root.study(outcome.study)
    nearest = (outcome.failed or (outcome.baseline,))[0].record
    why = formats.excess(nearest.violations) or "no budget, but it is the baseline itself"
    kept = next(path for path in (folder.kept_model(nearest.number), folder.model(nearest.number)) if path.is_dir())
    more = replace(typed, trials=2 * (typed.trials or typed.load().search.trials))
    click.echo(f"Error: no model is within the budgets; the nearest, trial {nearest.number}, misses {why}.", err=True)
    click.echo(f"That model is kept in {kept}. To search on: {more.line()}", err=True)
    looser = command_line("front", outcome.study, budget="latency_p50 <= 0.6 * baseline", root=_root_if_odd(root))
    click.echo(f"Another budget can be asked of what was tried, free: {looser}", err=True)


def _pull_command(outcome: Outcome, root: Root) -> str:
    """Empty where MLflow does not have the champion."""
    champion = outcome.champion
    if champion is None or champion.record.number not in outcome.versions:
        return ""
    return command_line("pull", f"{outcome.study}@champion", "-o", "champion", root=_root_if_odd(root))


def _root_if_odd(root: Root) -> Path | None:
    """The root where the commands would not find it by themselves."""
    from autoopt.search.paths import default_root

    return None if root.path == default_root() else root.path
