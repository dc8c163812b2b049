"""``autoopt tasks``: what a model can be searched for."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import click

from autoopt.search.cli.options import console, json_option, print_json

if TYPE_CHECKING:
    from autoopt.objectives.task import Task


@click.command(short_help="List the tasks, or show one of them in full.")
@click.argument("name", required=False)
@json_option
def tasks(name: str | None, as_json: bool) -> None:
    """List the tasks with their metrics, the default one first, or show the one that is NAMEd in full."""
    from autoopt.objectives.tasks import find_task
    from autoopt.objectives.tasks import tasks as known

    if name is not None:
        found = find_task(name)
        print_json(_described(name, found)) if as_json else _print_one(name, found)
        return
    described = [_described(each, find_task(each)) for each in known()]
    print_json(described) if as_json else _print_all(described)


def _described(name: str, task: type[Task]) -> dict[str, Any]:
    module = inspect.getmodule(task)
    return {
        "name": name,
        "summary": (inspect.getdoc(module) or "").split("\n")[0],
        "description": inspect.cleandoc(task.__doc__ or ""),
        "metrics": list(task.metrics),
        "settings": sorted(task.settings().model_fields),
        "example": task.sample_input(),
        "data": dict(task.sample[0]),
    }


def _print_all(described: list[dict[str, Any]]) -> None:
    from autoopt.search.report import tables
    from autoopt.search.report.sanitize import plain_text

    shown = tables.table("task", "what it does", "metrics (default first)")
    for task in described:
        shown.add_row(*map(plain_text, (task["name"], task["summary"], ", ".join(task["metrics"]))))
    console().print(shown)
    click.echo("One in full: autoopt tasks NAME")


def _print_one(name: str, task: type[Task]) -> None:
    from autoopt.search.cli.strategies import plain_text_lines
    from autoopt.search.report.sanitize import plain_text

    out, described = console(), _described(name, task)
    out.print(f"[bold]{name}[/bold]: {plain_text(described['summary'])}\n")
    out.print(plain_text_lines(described["description"]))
    out.print(f"\nMetrics: {', '.join(described['metrics'])}; the first that fits the data is the default")
    for key, field in task.settings().model_fields.items():
        out.print(f"Setting task.{key}: {plain_text(field.description or '')}")
    for column, text in described["example"].items():
        out.print(f"{column}: {plain_text(text)}")
    out.print(f"A row of data: {plain_text(json.dumps(described['data'], ensure_ascii=False))}")
