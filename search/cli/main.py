"""The ``autoopt`` command: its subcommands, and the exit code and message of each kind of error."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import click

from autoopt.search.cli.cache import cache
from autoopt.search.cli.dashboard import dashboard
from autoopt.search.cli.doctor import doctor
from autoopt.search.cli.inspect import front, show, status
from autoopt.search.cli.models import predict, pull
from autoopt.search.cli.plan import plan
from autoopt.search.cli.search import search
from autoopt.search.cli.signals import interrupt_on_sigterm
from autoopt.search.cli.strategies import strategies
from autoopt.search.cli.tasks import tasks
from autoopt.search.report.sanitize import printable
from autoopt.strategies.errors import AutooptError


class Commands(click.Group):
    """Group that turns an ``AutooptError`` into its exit code and message; other errors show their traceback."""

    def invoke(self, context: click.Context) -> Any:
        with interrupt_on_sigterm() as exit_code:
            try:
                return super().invoke(context)
            except AutooptError as error:
                print_error(error, str(error))
                context.exit(error.exit_code)
            except KeyboardInterrupt as interrupt:
                print_error(interrupt, "stopped")
                context.exit(exit_code())

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order of their use, not of the alphabet."""
        return list(self.commands)


def print_version(context: click.Context, parameter: click.Parameter, is_set: bool) -> None:  # noqa: ARG001
    """Print the installed version and exit."""
    if is_set:
        try:
            click.echo(f"autoopt {importlib.metadata.version('autoopt')}")
        except importlib.metadata.PackageNotFoundError:
            click.echo("autoopt (not installed, run from its source folder)")
        context.exit()


def print_error(error: BaseException, message: str) -> None:
    """Print each line of ``message`` to stderr as ``Error: ...``, followed by the notes of ``error``."""
    for line in message.splitlines() or [type(error).__name__]:
        click.echo(f"Error: {printable(line)}", err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(printable(note), err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Show the version and exit.",
)
def autoopt() -> None:
    """Make transformer models smaller and faster within limits on latency, size and memory.

    autoopt searches compression, adaptation, augmentation and pretraining together, measures every model, and registers
    the Pareto front in MLflow. To get started, run: autoopt search bbc-news
    """


for command in (search, plan, status, show, front, pull, predict, strategies, tasks, dashboard, cache, doctor):
    autoopt.add_command(command)


def main() -> None:
    """Run the command line."""
    autoopt(prog_name="autoopt")


if __name__ == "__main__":
    main()
