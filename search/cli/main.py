"""The command line: ``autoopt`` with its commands, and how each kind of failure ends it."""

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
from autoopt.search.cli.signals import orderly
from autoopt.search.cli.strategies import strategies
from autoopt.search.cli.tasks import tasks
from autoopt.search.report.sanitize import printable
from autoopt.strategies.errors import AutooptError


class Commands(click.Group):
    """Ends with the exit code of the error, and says it in a line; what is not foreseen shows its traceback."""

    def invoke(self, context: click.Context) -> Any:
        with orderly() as exit_code:
            try:
                return super().invoke(context)
            except AutooptError as error:
                complain(error, str(error))
                context.exit(error.exit_code)
            except KeyboardInterrupt as stop:
                complain(stop, "stopped")
                context.exit(exit_code())

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002
        """In the order in which a person meets them."""
        return list(self.commands)


def show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:  # noqa: ARG001
    """Print the version that is installed, and end."""
    if wanted:
        try:
            click.echo(f"autoopt {importlib.metadata.version('autoopt')}")
        except importlib.metadata.PackageNotFoundError:
            click.echo("autoopt, run from a folder and not installed")
        context.exit()


def complain(error: BaseException, message: str) -> None:
    """Write the message to stderr, each of its lines as ``Error: ...``, and below it what was noted on the way."""
    for line in message.splitlines() or [type(error).__name__]:
        click.echo(f"Error: {printable(line)}", err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(printable(note), err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version)
def autoopt() -> None:
    """Make a transformer model smaller and faster, within limits that are really kept.

    autoopt searches compression, adaptation, augmentation and pretraining together, measures what it finds, and
    registers the models that no other one beats. Begin with: autoopt search bbc-news
    """


for command in (search, plan, status, show, front, pull, predict, strategies, tasks, dashboard, cache, doctor):
    autoopt.add_command(command)


def main() -> None:
    """Run the command that was typed."""
    autoopt(prog_name="autoopt")


if __name__ == "__main__":
    main()
