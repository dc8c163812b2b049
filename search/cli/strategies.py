"""``autoopt strategies``: list and describe the strategies."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from autoopt.search.cli.options import console, json_option, print_json

if TYPE_CHECKING:
    from autoopt.strategies.knobs import Knob
    from autoopt.strategies.strategy import Strategy


@click.command(short_help="List the strategies, or describe one.")
@click.argument("name", required=False)
@json_option
def strategies(name: str | None, as_json: bool) -> None:
    """List the strategies with their searched settings, or describe strategy NAME."""
    from autoopt.strategies.catalog import catalog, find

    if name is not None:
        strategy = find(name)
        print_json(_strategy_json(strategy)) if as_json else _print_strategy(strategy)
    elif as_json:
        print_json([_strategy_json(strategy) for strategy in catalog().values()])
    else:
        _print_list(list(catalog().values()))


def _strategy_json(strategy: type[Strategy]) -> dict[str, Any]:
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
        "knobs": {name: {**_knob_json(knob), "default": fields[name].default} for name, knob in knobs.items()},
        "settings": {name: field.default for name, field in fields.items() if name not in knobs},
    }


def _knob_json(knob: Knob) -> dict[str, Any]:
    from autoopt.strategies.knobs import Choice, Int

    match knob:
        case Choice(options=options):
            return {"kind": "choice", "options": list(options)}
        case Int(low=low, high=high, step=step, log=log):
            return {"kind": "int", "low": low, "high": high, "step": step, "log": log}
        case _:
            return {"kind": "float", "low": knob.low, "high": knob.high, "log": knob.log}


def _print_list(listed: list[type[Strategy]]) -> None:
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.tables import new_table

    table = new_table("family", "strategy", "description", "searched (default)")
    for strategy in listed:
        fields = strategy.model_fields
        knobs = [f"{name} ({fields[name].default})" for name in strategy.knobs()]
        cells = (strategy.family.value, strategy.name, strategy.summary(), ", ".join(knobs) or "nothing")
        table.add_row(*map(plain_text, cells))
    console().print(table)
    click.echo("To describe one: autoopt strategies NAME")


def _print_strategy(strategy: type[Strategy]) -> None:
    from autoopt.search.report.sanitize import plain_lines, plain_text
    from autoopt.search.report.tables import new_table
    from autoopt.search.space.strategy_choice import legal_values

    out = console()
    out.print(f"[bold]{strategy.name}[/bold] ({strategy.family.value}): {plain_text(strategy.summary())}\n")
    out.print(plain_lines(inspect.cleandoc(strategy.__doc__ or "")))
    if strategy.needs:
        out.print(f"\nRequires: {', '.join(sorted(strategy.needs))}")
    if strategy.packages:
        out.print(f"\nRequires packages: {', '.join(sorted(strategy.packages))}")
    if strategy.excludes:
        out.print(f"\nCannot be combined with: {', '.join(sorted(strategy.excludes))}")
    knobs, fields = strategy.knobs(), strategy.model_fields
    table = new_table("setting", "default", "searched")
    for name, field in fields.items():
        searched = legal_values(knobs[name]) if name in knobs else "no, fixed unless the experiment file sets it"
        table.add_row(*map(plain_text, (name, field.default, searched)))
    out.print(table)
