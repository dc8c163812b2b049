"""Tables shared by several commands. Long cells wrap: nothing is truncated at any width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from autoopt.objectives.cost import Role
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.scoring.bootstrap import Difference
from autoopt.search.report.formats import (
    NOT_MEASURED,
    describe_gap,
    format_bytes,
    format_difference,
    format_further_costs,
    format_latency,
    format_measurement,
    format_quality,
    format_seconds,
    format_seeds,
    format_size,
    format_speedup,
    format_times_smaller,
    format_violations,
)
from autoopt.search.report.sanitize import plain_text
from autoopt.search.space.recipe import Recipe
from autoopt.search.study.evidence import TEST_PREFIX, TEST_QUALITY, Seeds
from autoopt.search.study.outcome import Outcome
from autoopt.search.study.verification import Verified
from autoopt.search.trial.record import StageRecord, State, TrialRecord

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

WIDE = 120
"""Terminal width in columns from which the recipe is a column of the table rather than a list below it."""


@dataclass(frozen=True)
class Row:
    """One model in a table of a front."""

    number: int
    recipe: str
    measurements: Mapping[str, Measurement]
    names: Sequence[str] = field(default_factory=tuple)
    """Its aliases, or another short label."""
    difference: Difference | None = None
    """Difference of its test quality to the baseline's."""
    seeds: Seeds | None = None
    remark: str = ""
    """Sentence shown below the table."""
    base_model: str = ""
    """``Recipe.model``."""

    @classmethod
    def from_verified(cls, model: Verified, names: Sequence[str] = (), *, baseline: Verified | None = None) -> Row:
        return cls(
            model.record.number,
            model.record.recipe.describe_steps(),
            model.measurements,
            names,
            model.difference,
            model.seeds,
            describe_gap(model.gap, baseline.gap if baseline else None),
            model.record.recipe.model,
        )

    @classmethod
    def from_record(cls, record: TrialRecord, names: Sequence[str] = ()) -> Row:
        """Return the row of a trial that was not verified."""
        recipe = record.recipe
        return cls(record.number, recipe.describe_steps(), record.measurements, names, base_model=recipe.model)


def new_table(*columns: str, title: str = "") -> Table:
    """Return an empty table whose cells wrap."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    headers = [Column(name, overflow="fold") for name in columns]
    heading = plain_text(title) or None
    return Table(*headers, box=SIMPLE_HEAD, title=heading, title_justify="left", title_style="bold", pad_edge=False)


def outcome_rows(outcome: Outcome) -> tuple[list[Row], Row]:
    """Return rows of the verified front, and the baseline's row; if the front is empty, the least violating model's."""
    names = {
        model.record.number: [alias for alias, number in outcome.named.items() if number == model.record.number]
        for model in outcome.models
    }
    reference = outcome.baseline
    rows = [Row.from_verified(model, names[model.record.number], baseline=reference) for model in outcome.models]
    if not rows:
        rows = [Row.from_verified(model, ("over budget",), baseline=reference) for model in outcome.failed[:1]]
    return rows, Row.from_verified(reference, ("baseline",), baseline=reference)


def front_table(
    rows: Sequence[Row], baseline: Row, *, width: int, title: str = "", base_models: Sequence[str] = ()
) -> RenderableType:
    """Return the table of a front, with the baseline in a section of its own at the end.

    If there are several ``base_models``, the baseline's first, a column shows that of each row.
    """
    from rich.console import Group

    is_wide = width >= WIDE
    models = base_models if len(base_models) > 1 else ()
    recipe = ["recipe"] if is_wide else []
    columns = ["trial", *(["model"] if models else []), *recipe, "quality, validation and test", "latency", "size"]
    table = new_table(*columns, title=title)
    others = [row for row in rows if row.number != baseline.number]
    aliases = [name for row in rows if row.number == baseline.number for name in row.names]
    last = replace(baseline, names=(*baseline.names, *aliases))
    for row in (*others, last):
        if row is last:
            table.add_section()
        number, *cells = _cells(row, baseline, with_recipe=is_wide)
        table.add_row(number, *([plain_text(row.base_model or models[0])] if models else []), *cells)
    recipes = [] if is_wide else [f"trial {row.number}: {plain_text(row.recipe)}" for row in (*others, last)]
    remarks = [f"trial {row.number}: {plain_text(row.remark)}" for row in (*others, last) if row.remark]
    return Group(table, *recipes, *remarks)


def _cells(row: Row, baseline: Row, *, with_recipe: bool) -> Iterable[str]:
    measured = row.measurements
    yield "\n".join([str(row.number), *map(plain_text, row.names)])
    if with_recipe:
        yield plain_text(row.recipe)
    yield _join_lines([format_quality(measured), *_test_lines(row)])
    faster, smaller = _comparisons(row, baseline)
    further = format_further_costs(measured, roles={Role.SPEED, Role.OTHER})
    yield _join_lines([format_latency(measured.get("latency_p50")), faster, *further])
    further = format_further_costs(measured, roles={Role.SPACE})
    yield _join_lines([format_size(measured.get("size")), smaller, *further])


def _comparisons(row: Row, baseline: Row) -> tuple[str, str]:
    """Return how much faster and smaller than the baseline; empty for the baseline itself and if not measured."""
    if row.number == baseline.number:
        return "", ""
    speed = format_speedup(row.measurements.get("latency_ratio"))
    size = format_times_smaller(row.measurements.get("size"), baseline.measurements.get("size"))
    return (
        "" if speed == NOT_MEASURED else f"{speed} faster",
        "" if size == NOT_MEASURED else f"{size} smaller",
    )


def _test_lines(row: Row) -> Iterable[str]:
    if TEST_QUALITY in row.measurements:
        yield f"test {format_quality(row.measurements, prefix=TEST_PREFIX)}"
    if row.difference:
        yield from format_difference(row.difference)
    if row.seeds:
        yield from format_seeds(row.seeds)


def _join_lines(parts: Sequence[str]) -> str:
    return "\n".join(plain_text(part) for part in parts if part)


def measurements_table(measurements: Mapping[str, Measurement], *, title: str = "") -> Table:
    """Return a table of all measurements of one model."""
    table = new_table("measured", "value", "samples", title=title)
    for name, measured in measurements.items():
        table.add_row(plain_text(name), plain_text(format_measurement(measured)), f"{measured.samples:,}")
    return table


def recipe_table(recipe: Recipe) -> Table:
    """Return a table of a recipe's strategies with all their values."""
    table = new_table("strategy", "family", "settings")
    for step in recipe.steps:
        values = ", ".join(f"{name}={value}" for name, value in step.model_dump(mode="json").items())
        table.add_row(*map(plain_text, (step.name, step.family.value, values or "none")))
    return table


def stages_table(record: TrialRecord) -> Table:
    """Return a table of how long each stage of a trial took, where it ran, its memory on a GPU, and the load."""
    table = new_table("stage", "time", "")
    for stage in record.stages:
        place = "reused" if stage.reused else ", ".join(_place(stage))
        table.add_row(plain_text(stage.name), format_seconds(stage.seconds), plain_text(place))
    return table


def _place(stage: StageRecord) -> Iterator[str]:
    """Yield what is known of where a stage ran."""
    if stage.device:
        yield stage.device
    if stage.peak_bytes is not None:
        yield f"{format_bytes(stage.peak_bytes)} at most"
    if stage.gpu_utilization is not None:
        yield f"{stage.gpu_utilization:.0%} busy"
    elif stage.processors is not None:
        yield f"{stage.processors:.1f} processors"


def limits_table(violations: Mapping[str, float]) -> Table:
    """Return a table of the limits of the budget and by how much each is missed."""
    table = new_table("budget", "")
    for limit, excess in violations.items():
        table.add_row(plain_text(limit), f"missed by {excess:.1%}" if excess > 0 else "met")
    return table


def describe_trial(record: TrialRecord) -> str:
    """Return the number of a trial, and its base model unless that is the study's first."""
    return f"trial {record.number}" + (f", {record.recipe.model}" if record.recipe.model else "")


def describe_state(record: TrialRecord) -> str:
    """Describe the state of a trial in a few words, with the budgets that it misses or why it ended."""
    match record.state:
        case State.COMPLETE:
            violations = format_violations(record.violations)
            return f"misses {violations}" if violations else "within the budgets"
        case State.REJECTED:
            return f"rejected: {record.reason}" if record.reason else "rejected"
        case State.STOPPED:
            return f"stopped early: {record.reason}"
        case State.FAILED:
            return f"failed: {record.reason}" if record.reason else "failed"
        case State.RUNNING:
            return "running"
