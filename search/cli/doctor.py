"""``autoopt doctor``: whether this machine has what a search needs."""

from __future__ import annotations

from pathlib import Path

import click

from autoopt.search.cli.options import console, json_option, print_json, root_option, studies_root

ENVIRONMENT = 5


@click.command(short_help="Check whether this machine is fit for a search.")
@click.option("--full", is_flag=True, help="Also start Ray; takes some ten seconds.")
@root_option
@json_option
def doctor(full: bool, root: Path | None, as_json: bool) -> None:
    """Check Python, the libraries, the processor, the disk and the databases.

    Exit code 5 where something is missing that a search needs.
    """
    from autoopt.search.cli.doctor_checks import Status, examine
    from autoopt.search.report import tables
    from autoopt.search.report.sanitize import plain_text

    checks = list(examine(studies_root(root), full=full))
    missing = [check.name for check in checks if check.status is Status.MISSING]
    if as_json:
        print_json({"fit": not missing, "checks": [check.to_json() for check in checks]})
    else:
        shown = tables.table("what", "", "found", "to do")
        for check in checks:
            shown.add_row(*map(plain_text, (check.name, check.status.value, check.found, check.remedy)))
        console().print(shown)
    if missing:
        click.echo(f"Error: a search cannot run here: {', '.join(missing)}; see 'to do' above.", err=True)
        click.get_current_context().exit(ENVIRONMENT)
