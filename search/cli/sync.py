"""``autoopt sync``: send what MLflow lacks of a study, such as after an outage."""

from __future__ import annotations

from pathlib import Path

import click

from autoopt.search.cli.options import json_option, print_json, root_option, studies_root, warn


@click.command(short_help="Send what MLflow lacks of a study.")
@click.argument("study")
@root_option
@json_option
def sync(study: str, root: Path | None, as_json: bool) -> None:
    """Send the ended trials and the verified front of STUDY to MLflow, as far as it does not have them.

    A search does so by itself unless MLflow was out of reach. Nothing is sent twice.
    """
    from autoopt.search.report.formats import format_count
    from autoopt.search.sync import send_to_mlflow

    sent = send_to_mlflow(study, studies_root(root), warn)
    if as_json:
        print_json({"study": study, "trials": sent.trials, "versions": sent.versions})
    else:
        models = format_count(sent.versions, "registered model")
        click.echo(f"Sent to MLflow: {format_count(sent.trials, 'trial')}, {models}")
