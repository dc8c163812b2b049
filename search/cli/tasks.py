"""``autoopt tasks``: list and describe the tasks."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import click

from autoopt.search.cli.options import console, json_option, print_json

if TYPE_CHECKING:
    from autoopt.objectives.task import Task


@click.command(short_help="List the tasks, or describe one.")
@click.argument("name", required=False)
@json_option
def tasks(name: str | None, as_json: bool) -> None:
    """List the tasks with their metrics, the default metric first, or describe task NAME."""
    from autoopt.objectives.tasks import find_task
    from autoopt.objectives.tasks import tasks as task_names

    if name is not None:
        task = find_task(name)
        print_json(_task_json(name, task)) if as_json else _print_task(name, task)
        return
    documents = [_task_json(task_name, find_task(task_name)) for task_name in task_names()]
    print_json(documents) if as_json else _print_list(documents)


def _task_json(name: str, task: type[Task]) -> dict[str, Any]:
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


def _print_list(documents: list[dict[str, Any]]) -> None:
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.tables import new_table

    table = new_table("task", "description", "metrics (default first)")
    for task in documents:
        table.add_row(*map(plain_text, (task["name"], task["summary"], ", ".join(task["metrics"]))))
    console().print(table)
    click.echo("To describe one: autoopt tasks NAME")


def _print_task(name: str, task: type[Task]) -> None:
    from autoopt.search.report.sanitize import plain_lines, plain_text

    out, document = console(), _task_json(name, task)
    out.print(f"[bold]{name}[/bold]: {plain_text(document['summary'])}\n")
    out.print(plain_lines(document["description"]))
    out.print(f"\nMetrics: {', '.join(document['metrics'])}; the default is the first that suits the data")
    for key, field in task.settings().model_fields.items():
        out.print(f"Setting task.{key}: {plain_text(field.description or '')}")
    for column, text in document["example"].items():
        out.print(f"{column}: {plain_text(text)}")
    out.print(f"A row of data: {plain_text(json.dumps(document['data'], ensure_ascii=False))}")
