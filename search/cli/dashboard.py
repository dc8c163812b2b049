"""``autoopt dashboard``: serve the Optuna dashboard and the MLflow UI on the loopback address."""

from __future__ import annotations

from pathlib import Path

import click

from autoopt.search.cli.options import root_option, studies_root

LOOPBACK = "127.0.0.1"


@click.command(short_help="Start the Optuna dashboard and the MLflow UI.")
@click.argument("study")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port of the Optuna dashboard."
)
@click.option(
    "--mlflow-port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port of the MLflow UI."
)
@click.option("--host", default=LOOPBACK, show_default=True, help="Only this one: MLflow has no password.")
@root_option
def dashboard(study: str, port: int, mlflow_port: int, host: str, root: Path | None) -> None:
    """Start the Optuna dashboard and the MLflow UI for STUDY, until Ctrl-C.

    The Optuna dashboard is read-only, and opens at the printed address alone, which holds a token. The MLflow UI can
    edit and delete runs, and is open to everyone with an account on this machine.
    """
    from autoopt.search.backends.mlflow_client import without_password
    from autoopt.search.dashboards.servers import check_free, mlflow_ui, optuna_dashboard, serve
    from autoopt.search.study.study_view import load_study_view
    from autoopt.strategies.errors import UsageError

    if host != LOOPBACK:
        raise UsageError(
            f"MLflow has no password and can delete runs, so the dashboards listen on {LOOPBACK} only, "
            f"not on '{host}'; to open them from another machine, use ssh -L {port}:{LOOPBACK}:{port}"
        )
    home = studies_root(root)
    experiment = load_study_view(home, study).experiment
    remote = experiment.tracking.address()
    servers = [optuna_dashboard(home, experiment, port)]
    if remote is None:
        servers.append(mlflow_ui(home, mlflow_port))
    check_free([server.port for server in servers])
    with serve(servers, home.path / "dashboards.log") as wait:
        for server in servers:
            click.echo(f"{server.name}: {server.address}" + (f" ({server.remark})" if server.remark else ""))
        if remote is not None:
            click.echo(f"MLflow: {without_password(remote)}")
        click.echo("Press Ctrl-C to stop.")
        wait()
