"""``autoopt plan``: validate an experiment and preview its search, without training."""

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
class Preview:
    """What ``autoopt plan`` shows."""

    experiment: Experiment
    space: Space
    notes: Sequence[str]
    """Which columns, splits and rows of the data are used."""
    warnings: Sequence[str]
    """Possible problems of the data."""
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
        """Expected compute per model of the front, and for the baseline, if several seeds confirm the front."""
        from autoopt.search.choosing.forecast import confirmation_seconds

        search = self.experiment.search
        return confirmation_seconds(self.work, self.design[: search.trials], seeds=search.confirm_seeds)


def _print_schema(context: click.Context, _: click.Parameter, is_set: bool) -> None:
    if not is_set or context.resilient_parsing:
        return
    from autoopt.search.experiment.experiment import Experiment

    print_json(Experiment.model_json_schema())
    context.exit()


@click.command(short_help="Validate an experiment and preview its search.")
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
    help="Print the JSON Schema of experiment files and exit.",
)
def plan(file: str, overrides: tuple[str, ...], root: Path | None, as_json: bool) -> None:
    """Validate an experiment and preview its search. Nothing is trained.

    FILE is an experiment file or the name of a built-in example. Shows the resolved experiment, the space of recipes,
    the first recipes, the baseline's latency on this machine (measured in about ten seconds) and the expected time.
    """
    from autoopt.search.experiment.experiment import load_experiment
    from autoopt.search.study.assembly import checked_space, root_of

    experiment = load_experiment(file, overrides)
    space = checked_space(experiment, warn)
    click.echo("measuring the latency of the baseline; this takes about ten seconds ...", err=True)
    preview = _preview(experiment, space, root_of(experiment, root))
    if as_json:
        print_json(_document(preview))
    else:
        _print(preview, command_line("search", file, set=overrides, root=root))


def _preview(experiment: Experiment, space: Space, root: Root) -> Preview:
    """Open the data and the base model, and time the model."""
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
        # One text may become several model inputs, and several texts may be packed into one.
        train=len(lengths),
        validation=round(len(workspace.data.validation) * len(lengths) / len(workspace.data.train)),
    )
    data = workspace.data
    return Preview(experiment, space, data.notes, data.warnings, calibration, work, start_design(space))


def _document(preview: Preview) -> dict[str, Any]:
    from math import isfinite

    size = preview.space.size()
    return {
        "experiment": preview.experiment.to_json(),
        "data": list(preview.notes),
        "warnings": list(preview.warnings),
        "offered": preview.space.to_json(),
        "withheld": dict(preview.space.withheld),
        "recipes": int(size) if isfinite(size) else None,
        "start_design": [recipe.to_json() for recipe in preview.design],
        "baseline_latency": preview.calibration.to_json(),
        "forecast": {
            "baseline_s": preview.baseline_s,
            "search_s": preview.search_s,
            "confirmation_of_one_model_s": preview.confirmation_s,
        },
    }


def _print(preview: Preview, command: str) -> None:
    from math import isfinite

    from autoopt.search.report.formats import format_clock, format_seconds
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.tables import new_table

    out, experiment = console(), preview.experiment
    for line in experiment.to_yaml().splitlines():
        out.print(plain_text(line), soft_wrap=True)
    out.print("\n[bold]Data[/bold]: " + plain_text("; ".join(preview.notes)), soft_wrap=True)
    size = preview.space.size()
    recipes = f"up to {size:,.0f}" if isfinite(size) else "infinitely many"
    out.print(f"\n[bold]Space[/bold]: {recipes} recipes, from")
    out.print(_offers_table(preview.space))
    for name, reason in preview.space.withheld.items():
        out.print(plain_text(f"without {name}: {reason}"), soft_wrap=True)
    first = new_table("", "recipe", title="First recipes")
    for number, recipe in enumerate(preview.design[: experiment.search.trials]):
        first.add_row(str(number), plain_text(recipe))
    out.print(first)
    calibration = preview.calibration
    noisy = "; unreliable, the machine was never quiet" if calibration.noisy else ""
    p95 = f", p95 {calibration.p95_ms:.1f} ms" if calibration.p95_ms is not None else ""
    out.print(f"[bold]Baseline[/bold]: {calibration.p50_ms:.1f} ms p50{p95} ({calibration.samples} samples{noisy})")
    out.print(
        f"[bold]Expected time[/bold] (within a factor of two): {format_seconds(preview.baseline_s)} for the "
        f"baseline, {format_clock(preview.search_s)} for {experiment.search.trials} trials on "
        f"{experiment.resources.workers} workers"
    )
    if experiment.search.confirm_seeds > 1:
        out.print(
            f"Then {format_clock(preview.confirmation_s)} per model of the front, and for the baseline, to train it "
            f"with {experiment.search.confirm_seeds - 1} more seeds; each worker trains one seed at a time",
            soft_wrap=True,
        )
    click.echo(f"To start:\n  {command}")


def _offers_table(space: Space) -> Any:
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.tables import new_table
    from autoopt.search.space.strategy_choice import legal_values

    table = new_table("family", "strategy", "searched")
    for offer in space.offers:
        searched = "; ".join(f"{name}: {legal_values(knob)}" for name, knob in offer.searched.items()) or "nothing"
        table.add_row(*map(plain_text, (offer.strategy.family.value, offer.strategy.name, searched)))
    return table
