"""``autoopt doctor``: check whether this machine can run a search."""

from __future__ import annotations

from pathlib import Path

import click

from autoopt.search.cli.options import console, json_option, print_json, root_option, studies_root


@click.command(short_help="Check whether this machine can run a search.")
@click.option("--full", is_flag=True, help="Also start Ray, which takes about ten seconds.")
@root_option
@json_option
def doctor(full: bool, root: Path | None, as_json: bool) -> None:
    """Check Python, the libraries, the processor, the disk and the databases.

    The exit code is 5 if something that a search needs is missing.
    """
    from autoopt.search.cli.doctor_checks import Status, run_checks
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.tables import new_table
    from autoopt.strategies.errors import EnvironmentProblem

    checks = list(run_checks(studies_root(root), full=full))
    missing = [check.name for check in checks if check.status is Status.MISSING]
    if as_json:
        print_json({"fit": not missing, "checks": [check.to_json() for check in checks]})
    else:
        table = new_table("check", "status", "found", "remedy")
        for check in checks:
            table.add_row(*map(plain_text, (check.name, check.status.value, check.found, check.remedy)))
        console().print(table)
    if missing:
        click.echo(f"Error: a search cannot run here: {', '.join(missing)}; see the remedies above.", err=True)
        click.get_current_context().exit(EnvironmentProblem.exit_code)
