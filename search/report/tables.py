"""Tables that several commands show. They fit any width: what is too long goes on in the next line, nothing is cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from autoopt.objectives.cost import Role
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.scoring.bootstrap import Difference
from autoopt.search.report import formats
from autoopt.search.report.sanitize import plain_text
from autoopt.search.space.recipe import Recipe
from autoopt.search.study.evidence import TEST_PREFIX, TEST_QUALITY, Seeds
from autoopt.search.study.outcome import Outcome
from autoopt.search.study.verification import Verified
from autoopt.search.trial.record import State, TrialRecord

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

WIDE = 120
"""From so many columns on the recipe stands in the table itself, below that in a list after it."""


@dataclass(frozen=True)
class Row:
    """One model in a table of a front."""

    number: int
    recipe: str
    measurements: Mapping[str, Measurement]
    names: Sequence[str] = field(default_factory=tuple)
    """Its aliases, or what else is to be said of it in a word."""
    difference: Difference | None = None
    """Of its test quality to the baseline's."""
    seeds: Seeds | None = None
    remark: str = ""
    """What is to be said of it in a sentence, below the table."""

    @classmethod
    def of(cls, model: Verified, names: Sequence[str] = (), *, baseline: Verified | None = None) -> Row:
        return cls(
            model.record.number,
            str(model.record.recipe),
            model.measurements,
            names,
            model.difference,
            model.seeds,
            formats.gap(model.gap, baseline.gap if baseline else None),
        )


def table(*columns: str, title: str = "") -> Table:
    """An empty table whose cells wrap."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    heads = [Column(name, overflow="fold") for name in columns]
    heading = plain_text(title) or None
    return Table(*heads, box=SIMPLE_HEAD, title=heading, title_justify="left", title_style="bold", pad_edge=False)


def outcome_rows(outcome: Outcome) -> tuple[list[Row], Row]:
    """The verified front and the baseline as rows; of an empty front the least violating model."""
    names = {
        model.record.number: [alias for alias, number in outcome.named.items() if number == model.record.number]
        for model in outcome.models
    }
    reference = outcome.baseline
    rows = [Row.of(model, names[model.record.number], baseline=reference) for model in outcome.models]
    if not rows:
        rows = [Row.of(model, ("over budget",), baseline=reference) for model in outcome.failed[:1]]
    return rows, Row.of(reference, ("baseline",), baseline=reference)


def front(rows: Sequence[Row], baseline: Row, *, width: int, title: str = "") -> RenderableType:
    """The models of a front, and below them the baseline, which all are compared with."""
    from rich.console import Group

    wide = width >= WIDE
    shown = table(
        "trial", *(["recipe"] if wide else []), "quality, validation and test", "latency", "size", title=title
    )
    others = [row for row in rows if row.number != baseline.number]
    itself = [name for row in rows if row.number == baseline.number for name in row.names]
    last = replace(baseline, names=(*baseline.names, *itself))
    for row in (*others, last):
        if row is last:
            shown.add_section()
        shown.add_row(*_cells(row, baseline, wide=wide))
    recipes = [] if wide else [f"trial {row.number}: {plain_text(row.recipe)}" for row in (*others, last)]
    remarks = [f"trial {row.number}: {plain_text(row.remark)}" for row in (*others, last) if row.remark]
    return Group(shown, *recipes, *remarks)


def _cells(row: Row, baseline: Row, *, wide: bool) -> Iterable[str]:
    measured = row.measurements
    yield "\n".join([str(row.number), *map(plain_text, row.names)])
    if wide:
        yield plain_text(row.recipe)
    yield _lines([formats.quality(measured), *_test_lines(row)])
    speed = formats.speed(measured.get("latency_ratio"))
    smaller = formats.times_smaller(measured.get("size"), baseline.measurements.get("size"))
    if row.number == baseline.number:
        speed = smaller = formats.NOTHING  # Once faster and once smaller than itself: it need not be said.
    faster = f"{speed} faster" if speed != formats.NOTHING else ""
    further = formats.further_costs(measured, roles={Role.SPEED, Role.OTHER})
    yield _lines([formats.latency(measured.get("latency_p50")), faster, *further])
    further = formats.further_costs(measured, roles={Role.SPACE})
    smaller = f"{smaller} smaller" if smaller != formats.NOTHING else ""
    yield _lines([formats.size(measured.get("size")), smaller, *further])


def _test_lines(row: Row) -> Iterable[str]:
    if TEST_QUALITY in row.measurements:
        yield f"test {formats.quality(row.measurements, prefix=TEST_PREFIX)}"
    if row.difference:
        yield from formats.to_baseline(row.difference)
    if row.seeds:
        yield from formats.seeds(row.seeds)


def _lines(parts: Sequence[str]) -> str:
    return "\n".join(plain_text(part) for part in parts if part)


def measurements(measured: Mapping[str, Measurement], *, title: str = "") -> Table:
    """Every measurement of one model."""
    shown = table("measured", "value", "samples", title=title)
    for name, item in measured.items():
        shown.add_row(plain_text(name), plain_text(formats.shown(item)), f"{item.samples:,}")
    return shown


def steps(recipe: Recipe) -> Table:
    """Every strategy of a recipe with all its values."""
    shown = table("strategy", "family", "with")
    for step in recipe.steps:
        values = ", ".join(f"{name}={value}" for name, value in step.model_dump(mode="json").items())
        shown.add_row(*map(plain_text, (step.name, step.family.value, values or "no settings")))
    return shown


def stages(record: TrialRecord) -> Table:
    """What each stage of a trial took."""
    shown = table("stage", "time", "")
    for stage in record.stages:
        shown.add_row(plain_text(stage.name), formats.seconds_of(stage.seconds), "reused" if stage.reused else "")
    return shown


def verdict(record: TrialRecord) -> str:
    """How a trial stands, in a few words."""
    match record.state:
        case State.COMPLETE:
            over = formats.excess(record.violations)
            return f"misses {over}" if over else "within the budgets"
        case State.REJECTED:
            return f"rejected: {record.reason}" if record.reason else "rejected"
        case State.STOPPED:
            return f"stopped early: {record.reason}"
        case State.FAILED:
            return f"failed: {record.reason}" if record.reason else "failed"
        case State.RUNNING:
            return "running"
