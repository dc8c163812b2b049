"""The ``autoopt`` command and its subcommands."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import click

from autoopt.search.cli.cache import cache
from autoopt.search.cli.dashboard import dashboard
from autoopt.search.cli.doctor import doctor
from autoopt.search.cli.endings import PIPE_CLOSED, UNFORESEEN, close_pipe, print_error, print_unforeseen, translate
from autoopt.search.cli.inspect import front, show, status
from autoopt.search.cli.models.convert import convert
from autoopt.search.cli.models.predict import predict
from autoopt.search.cli.models.pull import export, pull
from autoopt.search.cli.options import Session
from autoopt.search.cli.plan import plan
from autoopt.search.cli.search import search
from autoopt.search.cli.signals import interruption
from autoopt.search.cli.strategies import strategies
from autoopt.search.cli.sync import sync
from autoopt.search.cli.tasks import tasks
from autoopt.strategies.errors import UsageError


class Commands(click.Group):
    """Group that ends every error with its exit code and one line."""

    def invoke(self, context: click.Context) -> Any:
        with interruption() as stop:
            session = context.obj = Session(stop)
            try:
                return super().invoke(context)
            except (click.exceptions.Exit, click.ClickException, click.Abort):
                raise
            except KeyboardInterrupt as interrupt:
                print_error(interrupt, "stopped")
                context.exit(stop.exit_code)
            except BrokenPipeError:
                close_pipe()
                context.exit(PIPE_CLOSED)
            except Exception as error:  # noqa: BLE001  The outermost handler.
                context.exit(_end(error, session.folder))

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Refuse arguments that cannot be stored or printed, before anything is begun."""
        for argument in args:
            try:
                argument.encode()
            except UnicodeEncodeError as error:
                print_error(error, f"the argument {argument!a} is not valid UTF-8; rename the file or folder")
                context.exit(UsageError.exit_code)
        return super().parse_args(context, args)

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


def _end(error: Exception, folder: Path | None) -> int:
    """Print an error and return its exit code."""
    known = translate(error, folder)
    if known is None:
        print_unforeseen(error, folder)
        return UNFORESEEN
    known.__notes__ = getattr(error, "__notes__", [])
    print_error(known, str(known))
    return known.exit_code


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


for command in (
    search, plan, status, show, front, pull, export, predict, convert, sync, strategies, tasks, dashboard, cache, doctor
):  # fmt: skip
    autoopt.add_command(command)


def main() -> None:
    """Run the command line."""
    autoopt(prog_name="autoopt")


if __name__ == "__main__":
    main()
