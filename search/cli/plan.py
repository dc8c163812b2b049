"""``autoopt plan``: what a search would do, shown before anything is trained."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoopt.search.cli.options import (
    command_line,
    console,
    json_option,
    overrides_option,
    print_json,
    root_option,
    warn,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autoopt.objectives.timing.latency import Calibration
    from autoopt.search.choosing.forecast import Work
    from autoopt.search.experiment.experiment import Experiment
    from autoopt.search.paths import Root
    from autoopt.search.space.recipe import Recipe
    from autoopt.search.space.space import Space


@dataclass(frozen=True)
class Outlook:
    """All that a plan shows."""

    experiment: Experiment
    space: Space
    notes: Sequence[str]
    """What was chosen and left out of the data."""
    warnings: Sequence[str]
    """What is doubtful about the data."""
    calibration: Calibration
    work: Work
    design: Sequence[Recipe]

    @property
    def baseline_s(self) -> float:
        return self.work.seconds(self.design[0])

    @property
    def search_s(self) -> float:
        from autoopt.search.choosing.forecast import search_seconds

        search, workers = self.experiment.search, self.experiment.resources.workers
        forecast = search_seconds(self.work, self.design, trials=search.trials, workers=workers)
        return forecast if search.timeout is None else min(forecast, search.timeout)

    @property
    def confirmation_s(self) -> float:
        """For each model of the front, and for the baseline."""
        from autoopt.search.choosing.forecast import confirmation_seconds

        search = self.experiment.search
        return confirmation_seconds(self.work, self.design[: search.trials], seeds=search.confirm_seeds)


def _print_schema(context: click.Context, _: click.Parameter, is_wanted: bool) -> None:
    if not is_wanted or context.resilient_parsing:
        return
    from autoopt.search.experiment.experiment import Experiment

    print_json(Experiment.model_json_schema())
    context.exit()


@click.command(short_help="Check an experiment and show what its search would do.")
@click.argument("file")
@overrides_option
@root_option
@json_option
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON Schema of experiment files, for an editor, and exit.",
)
def plan(file: str, overrides: tuple[str, ...], root: Path | None, as_json: bool) -> None:
    """Check an experiment and show what a search of it would do. Trains nothing.

    Shows the resolved experiment, the space of recipes, the recipes that are tried first, the baseline's latency on
    this machine (measured; takes some ten seconds) and a forecast of the cost.
    """
    from autoopt.search.experiment.experiment import load_experiment
    from autoopt.search.study.assembly import checked_space, root_of

    experiment = load_experiment(file, overrides)
    space = checked_space(experiment, warn)
    click.echo("measuring the baseline's latency; this takes some ten seconds ...", err=True)
    outlook = _look(experiment, space, root_of(experiment, root))
    if as_json:
        print_json(_document(outlook))
    else:
        _print(outlook, command_line("search", file, set=overrides, root=root))


def _look(experiment: Experiment, space: Space, root: Root) -> Outlook:
    from statistics import mean

    import torch

    from autoopt.search.choosing.forecast import Work
    from autoopt.search.space.start_design import start_design
    from autoopt.search.trial.workspace import Workspace

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace.of(experiment, root, scratch=Path(scratch))
        calibration = workspace.calibration
        lengths = [len(item["input_ids"]) for item in workspace.base.features()]
    tokens = mean(workspace.target.call_lengths)
    work = Work(
        forward_s=calibration.call_ms / 1000 / experiment.target.batch_size,
        length_share=min(1.0, sum(lengths) / len(lengths) / tokens),
        # A text may be several inputs of the model, or many texts one.
        train=len(lengths),
        validation=round(len(workspace.data.validation) * len(lengths) / len(workspace.data.train)),
    )
    data = workspace.data
    return Outlook(experiment, space, data.notes, data.warnings, calibration, work, start_design(space))


def _document(outlook: Outlook) -> dict[str, Any]:
    from math import isfinite

    size = outlook.space.size()
    return {
        "experiment": outlook.experiment.to_json(),
        "data": list(outlook.notes),
        "warnings": list(outlook.warnings),
        "offered": outlook.space.to_json(),
        "withheld": dict(outlook.space.withheld),
        "recipes": int(size) if isfinite(size) else None,
        "start_design": [recipe.to_json() for recipe in outlook.design],
        "baseline_latency": outlook.calibration.to_json(),
        "forecast": {
            "baseline_s": outlook.baseline_s,
            "search_s": outlook.search_s,
            "confirmation_of_one_model_s": outlook.confirmation_s,
        },
    }


def _print(outlook: Outlook, command: str) -> None:
    from math import isfinite

    from autoopt.search.report import formats, tables
    from autoopt.search.report.sanitize import plain_text

    out, experiment = console(), outlook.experiment
    for line in experiment.to_yaml().splitlines():
        out.print(plain_text(line), soft_wrap=True)
    out.print("\n[bold]Data[/bold]: " + plain_text("; ".join(outlook.notes)), soft_wrap=True)
    size = outlook.space.size()
    recipes = f"{size:,.0f}" if isfinite(size) else "infinitely many"
    out.print(f"\n[bold]Space[/bold]: {recipes} recipes at most, of")
    out.print(_offered(outlook.space))
    for name, reason in outlook.space.withheld.items():
        out.print(plain_text(f"without {name}: {reason}"), soft_wrap=True)
    first = tables.table("", "recipe", title="Tried first")
    for number, recipe in enumerate(outlook.design[: experiment.search.trials]):
        first.add_row(str(number), plain_text(recipe))
    out.print(first)
    calibration = outlook.calibration
    noisy = "; the machine was never quiet, do not trust it" if calibration.noisy else ""
    p95 = f", p95 {calibration.p95_ms:.1f} ms" if calibration.p95_ms is not None else ""
    out.print(f"[bold]Baseline[/bold]: {calibration.p50_ms:.1f} ms p50{p95} ({calibration.samples} samples{noisy})")
    out.print(
        f"[bold]Forecast[/bold], from that and rough to a factor of two: {formats.seconds_of(outlook.baseline_s)} for "
        f"the baseline, {formats.clock(outlook.search_s)} for {experiment.search.trials} trials on "
        f"{experiment.resources.workers} workers"
    )
    if experiment.search.confirm_seeds > 1:
        out.print(
            f"Then {formats.clock(outlook.confirmation_s)} for each model of the front and for the baseline, to train "
            f"them with {experiment.search.confirm_seeds - 1} more seeds; as many seeds at a time as there are workers",
            soft_wrap=True,
        )
    click.echo(f"To begin:\n  {command}")


def _offered(space: Space) -> Any:
    from autoopt.search.report import tables
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.space.strategy_choice import legal

    shown = tables.table("family", "strategy", "searched")
    for offer in space.offers:
        searched = "; ".join(f"{name}: {legal(knob)}" for name, knob in offer.searched.items()) or "nothing"
        shown.add_row(*map(plain_text, (offer.strategy.family.value, offer.strategy.name, searched)))
    return shown
