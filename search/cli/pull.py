"""``autoopt pull``: copy a model out of the registry into a folder."""

from __future__ import annotations

from pathlib import Path

import click

from autoopt.search.cli.options import command_line, json_option, print_json, root_option, studies_root


@click.command(short_help="Copy a registered model into a folder.")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to copy the model into.")
@click.option("--uri", help="MLflow server.  [default: the one of the study]", metavar="ADDRESS")
@click.option("--force", is_flag=True, help="Replace a model that is already in the folder.")
@root_option
@json_option
def pull(name: str, output: Path, uri: str | None, force: bool, root: Path | None, as_json: bool) -> None:
    """Copy a registered model into a folder and verify its checksums.

    NAME is STUDY@ALIAS (champion, fastest, smallest or balanced), STUDY/VERSION, or STUDY for its champion.
    """
    from autoopt.search.backends import mlflow_pull
    from autoopt.search.names import ModelReference

    home = studies_root(root)
    reference = ModelReference.parse(name)
    address = uri or _tracking_address(home.study(reference.name).experiment)
    folder = mlflow_pull.pull(name, output, root=home, uri=address, force=force)
    if as_json:
        print_json({"model": str(reference), "folder": str(folder)})
    else:
        click.echo(f"Pulled {reference} into {folder}; all checksums match. To use it:")
        click.echo(f"  {command_line('predict', output, text='...')}")


def _tracking_address(experiment_file: Path) -> str | None:
    """Return the MLflow address in a study's experiment file; None for the database under the root."""
    from autoopt.search.experiment.experiment import load_experiment

    return load_experiment(experiment_file).tracking.address() if experiment_file.is_file() else None
