"""``autoopt strategies``: what can be searched."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from autoopt.search.cli.options import console, json_option, print_json

if TYPE_CHECKING:
    from autoopt.strategies.knobs import Knob
    from autoopt.strategies.strategy import Strategy


@click.command(short_help="List what can be searched, or show one of it in full.")
@click.argument("name", required=False)
@json_option
def strategies(name: str | None, as_json: bool) -> None:
    """List the strategies with the knobs that are searched, or show the one that is NAMEd in full."""
    from autoopt.strategies.catalog import catalog, find

    if name is not None:
        found = find(name)
        print_json(_described(found)) if as_json else _print_one(found)
    elif as_json:
        print_json([_described(strategy) for strategy in catalog().values()])
    else:
        _print_all(list(catalog().values()))


def _described(strategy: type[Strategy]) -> dict[str, Any]:
    knobs, fields = strategy.knobs(), strategy.model_fields
    return {
        "name": strategy.name,
        "family": strategy.family.value,
        "summary": strategy.summary(),
        "description": inspect.cleandoc(strategy.__doc__ or ""),
        "paper": strategy.paper(),
        "needs": sorted(strategy.needs),
        "packages": sorted(strategy.packages),
        "after": sorted(strategy.after),
        "excludes": sorted(strategy.excludes),
        "knobs": {name: {**_range(knob), "default": fields[name].default} for name, knob in knobs.items()},
        "settings": {name: field.default for name, field in fields.items() if name not in knobs},
    }


def _range(knob: Knob) -> dict[str, Any]:
    from autoopt.strategies.knobs import Choice, Int

    match knob:
        case Choice(options=options):
            return {"kind": "choice", "options": list(options)}
        case Int(low=low, high=high, step=step, log=log):
            return {"kind": "int", "low": low, "high": high, "step": step, "log": log}
        case _:
            return {"kind": "float", "low": knob.low, "high": knob.high, "log": knob.log}


def _print_all(found: list[type[Strategy]]) -> None:
    from autoopt.search.report import tables
    from autoopt.search.report.sanitize import plain_text

    shown = tables.table("family", "strategy", "what it does", "searched (default)")
    for strategy in found:
        fields = strategy.model_fields
        knobs = [f"{name} ({fields[name].default})" for name in strategy.knobs()]
        cells = (strategy.family.value, strategy.name, strategy.summary(), ", ".join(knobs) or "nothing")
        shown.add_row(*map(plain_text, cells))
    console().print(shown)
    click.echo("One in full: autoopt strategies NAME")


def _print_one(strategy: type[Strategy]) -> None:
    from autoopt.search.report import tables
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.space.strategy_choice import legal

    out = console()
    out.print(f"[bold]{strategy.name}[/bold] ({strategy.family.value}): {plain_text(strategy.summary())}\n")
    out.print(plain_text_lines(inspect.cleandoc(strategy.__doc__ or "")))
    if strategy.needs:
        out.print(f"\nNeeds: {', '.join(sorted(strategy.needs))}")
    if strategy.packages:
        out.print(f"\nNeeds the packages: {', '.join(sorted(strategy.packages))}")
    if strategy.excludes:
        out.print(f"\nCannot be combined with: {', '.join(sorted(strategy.excludes))}")
    knobs, fields = strategy.knobs(), strategy.model_fields
    shown = tables.table("setting", "default", "searched")
    for name, field in fields.items():
        where = legal(knobs[name]) if name in knobs else "no; set it in the experiment file"
        shown.add_row(*map(plain_text, (name, field.default, where)))
    out.print(shown)


def plain_text_lines(text: str) -> str:
    """Text that keeps its lines."""
    from autoopt.search.report.sanitize import plain_text

    return "\n".join(map(plain_text, text.splitlines()))
