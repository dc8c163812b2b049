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
    from collections.abc import Mapping, Sequence

    from autoopt.objectives.summary import DataSummary
    from autoopt.objectives.target import Target
    from autoopt.objectives.timing.latency import Calibration
    from autoopt.search.choosing.forecast import Work
    from autoopt.search.experiment.experiment import Experiment
    from autoopt.search.paths import Root
    from autoopt.search.space.recipe import Recipe
    from autoopt.search.space.space import Space
    from autoopt.search.trial.workspace import Workspace


@dataclass(frozen=True)
class Preview:
    """What ``autoopt plan`` shows."""

    experiment: Experiment
    space: Space
    data: DataSummary
    notes: Sequence[str]
    """Which columns, splits and rows of the data are used."""
    warnings: Sequence[str]
    """Possible problems of the data."""
    calibration: Calibration
    ratios: Mapping[str, float]
    """Latency of each base model relative to the baseline's, by label."""
    work: Work
    design: Sequence[Recipe]
    target: Target
    """What is timed."""

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
@click.option("--knobs", is_flag=True, help="Also show the searched knobs, the first recipes and the experiment.")
def plan(file: str, overrides: tuple[str, ...], root: Path | None, as_json: bool, knobs: bool) -> None:
    """Validate an experiment and preview its search. Nothing is trained.

    FILE is an experiment file or the name of a built-in example. Shows the expected time and the baseline's latency on
    this machine (measured in about ten seconds), what was understood of the data, and the space of recipes.
    """
    from autoopt.search.experiment.experiment import load_experiment
    from autoopt.search.study.assembly import checked, root_of

    experiment = load_experiment(file, overrides)
    home = root_of(experiment, root)
    inputs = checked(experiment, home, warn)
    click.echo("measuring the latency of the baseline; this takes about ten seconds ...", err=True)
    preview = _preview(inputs.experiment, inputs.space, home)
    if as_json:
        print_json(_document(preview))
    else:
        _print(preview, command_line("search", file, set=overrides, root=root))
        if knobs:
            _print_details(preview)


def _preview(experiment: Experiment, space: Space, root: Root) -> Preview:
    """Open the data and the base model, and time the model."""
    from statistics import mean

    import torch

    from autoopt.objectives.summary import DataSummary
    from autoopt.search.choosing.forecast import Work
    from autoopt.search.space.start_design import start_design
    from autoopt.search.trial.workspace import Workspace

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace.of(experiment, root, scratch=Path(scratch))
        calibration = workspace.calibration
        ratios = _latency_ratios(workspace, space.sizes)
        lengths = [len(item["input_ids"]) for item in workspace.base.features()]
    tokens = mean(workspace.target.call_lengths)
    work = Work(
        forward_s=calibration.call_ms / 1000 / experiment.target.batch_size,
        length_share=min(1.0, sum(lengths) / len(lengths) / tokens),
        # One text may become several model inputs, and several texts may be packed into one.
        train=len(lengths),
        validation=round(len(workspace.data.validation) * len(lengths) / len(workspace.data.train)),
        sizes=ratios,
    )
    data = workspace.data
    summary = DataSummary.of(workspace.task, data)
    return Preview(
        experiment,
        space,
        summary,
        data.notes,
        data.warnings,
        calibration,
        ratios,
        work,
        start_design(space),
        workspace.target,
    )


def _latency_ratios(workspace: Workspace, sizes: Mapping[str, float]) -> dict[str, float]:
    """Time each further base model against the first; a search finds these measurements in its table.

    ``sizes`` are the estimates that are returned if the study measures no latency.
    """
    from autoopt.search.space.recipe import Recipe

    first, *others = workspace.experiment.base_models
    ratios = {first: 1.0}
    for label in others:
        unchanged = Recipe((), label)
        measured = workspace.measure(workspace.base_of(unchanged), unchanged)
        ratios[label] = measured["latency_ratio"].value if "latency_ratio" in measured else sizes[label]
    return ratios


def _document(preview: Preview) -> dict[str, Any]:
    from math import isfinite

    size = preview.space.size()
    return {
        "experiment": preview.experiment.to_json(),
        "data": list(preview.notes),
        "understood": preview.data.to_json(),
        "warnings": list(preview.warnings),
        "offered": preview.space.to_json(),
        "withheld": dict(preview.space.withheld),
        "recipes": int(size) if isfinite(size) else None,
        "start_design": [recipe.to_json() for recipe in preview.design],
        "baseline_latency": preview.calibration.to_json(),
        "target": preview.target.to_json(),
        "base_models": _base_models(preview),
        "training": _training(preview.experiment),
        "forecast": {
            "baseline_s": preview.baseline_s,
            "search_s": preview.search_s,
            "confirmation_of_one_model_s": preview.confirmation_s,
        },
    }


def _base_models(preview: Preview) -> list[dict[str, Any]]:
    """Return what is known of each base model, the baseline's first."""
    layers = {model.label: model.layers for model in preview.space.models}
    return [
        {
            "label": label,
            "name": name,
            "layers": layers[label],
            "latency_ms": preview.ratios[label] * preview.calibration.p50_ms,
            "latency_ratio": preview.ratios[label],
        }
        for label, name in preview.experiment.base_models.items()
    ]


def _print(preview: Preview, command: str) -> None:
    """Print the answer first: how long it takes and how to start it; then what it rests on."""
    from autoopt.search.report.data_tables import print_data
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.space_tables import base_models_table, describe_size, families_table, withheld_lines

    out, experiment = console(), preview.experiment
    out.print(
        f"[bold]{plain_text(experiment.study)}[/bold]: {plain_text(experiment.task.name)} with "
        f"{plain_text(', '.join(experiment.base_models.values()))}",
        soft_wrap=True,
    )
    for line in _forecast_lines(preview):
        out.print(line, soft_wrap=True)
    out.print(f"[bold]Training[/bold]: {plain_text(_training(preview.experiment))}", soft_wrap=True)
    click.echo(f"Goal: {_goal(preview.experiment)}")
    click.echo(f"To start:\n  {command}\n")
    if len(preview.space.models) > 1:
        out.print(base_models_table(_base_models(preview)))
    print_data(preview.data, out)
    out.print(f"[bold]Space[/bold]: {describe_size(preview.space)}; 'autoopt plan --knobs' lists the searched values")
    out.print(families_table(preview.space))
    for line in withheld_lines(preview.space):
        out.print(plain_text(line), soft_wrap=True)


def _training(experiment: Experiment) -> str:
    """Return in words where the trials will train."""
    from autoopt.search.experiment.training_place import training_line
    from autoopt.strategies.system.devices import gpu_count, gpu_names, worker_device
    from autoopt.strategies.training.precision import training_precision

    device = worker_device(experiment.resources.gpu_share(gpu_count()))
    precision = str(training_precision(device.torch_device)).removeprefix("torch.")
    return training_line(experiment.resources, gpu_names(), precision=precision)


def _goal(experiment: Experiment) -> str:
    """Return the objectives and the budget in words."""
    from autoopt.search.experiment.opening import directions

    objectives = ", ".join(f"{direction.value} {name}" for name, direction in directions(experiment).items())
    limits = ", ".join(limit.text for limit in experiment.budget)
    return f"{objectives}; within {limits}" if limits else f"{objectives}; no budget"


def _forecast_lines(preview: Preview) -> list[str]:
    from autoopt.search.report.formats import format_clock, format_count, format_seconds

    experiment, calibration = preview.experiment, preview.calibration
    noisy = "; of processor time, as other processes disturb this machine" if calibration.by_processor else ""
    noisy = "; unreliable, the machine was never quiet" if calibration.noisy else noisy
    p95 = f", p95 {calibration.p95_ms:.1f} ms" if calibration.p95_ms is not None else ""
    trials = (
        f"{format_count(experiment.search.trials, 'trial')} on {format_count(experiment.resources.workers, 'worker')}"
    )
    times = f"{format_seconds(preview.baseline_s)} for the baseline, {format_clock(preview.search_s)} for {trials}"
    lines = [
        f"[bold]Expected time[/bold] (within a factor of two): {times}",
        f"[bold]Baseline[/bold]: {calibration.p50_ms:.1f} ms p50{p95} ({calibration.samples} samples{noisy})",
        f"[bold]Calls[/bold]: {_calls(preview)}",
    ]
    if (further := experiment.search.confirm_seeds - 1) > 0:
        lines.insert(
            1,
            f"Then {format_clock(preview.confirmation_s)} per model of the front, and for the baseline, to train it "
            f"with {format_count(further, 'more seed')}; each worker trains one seed at a time",
        )
    return lines


def _calls(preview: Preview) -> str:
    """Return in words on what the latency is measured."""
    target = preview.target
    what = "from texts to answers" if target.texts else "a forward pass"
    lengths, longest = sorted(target.call_lengths), preview.experiment.data.max_length
    if len(lengths) == 1:
        return f"{what}, {lengths[0]} tokens each"
    middle, high = lengths[len(lengths) // 2], lengths[-1]
    cut = sum(length >= longest for length in lengths) / len(lengths)
    beyond = f"; {cut:.0%} reach data.max_length, {longest}" if cut else f" (data.max_length {longest})"
    return f"{what}, as long as the validation texts: half have up to {middle} tokens, 95 % up to {high}{beyond}"


def _print_details(preview: Preview) -> None:
    """Print the searched knobs, the first recipes, and the experiment with all defaults."""
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.space_tables import knobs_table
    from autoopt.search.report.tables import new_table

    out, experiment = console(), preview.experiment
    out.print(knobs_table(preview.space))
    first = new_table("", "recipe", title="First recipes")
    for number, recipe in enumerate(preview.design[: experiment.search.trials]):
        first.add_row(str(number), plain_text(recipe))
    out.print(first)
    for note in preview.notes:
        out.print(plain_text(note), soft_wrap=True)
    out.print()
    for line in experiment.to_yaml().splitlines():
        out.print(plain_text(line), soft_wrap=True)
