"""Options, consoles, JSON output and messages shared by the commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from autoopt.search.cli.signals import Interruption
from autoopt.strategies.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from autoopt.search.paths import Root

Command = TypeVar("Command", bound=Callable[..., Any])

NOTHING_FEASIBLE = 3
"""Exit code if no model is within the budgets."""
PIPED_WIDTH = 160
"""Columns of output that is not a terminal."""

root_option = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that holds all studies.  [default: $AUTOOPT_ROOT or ./autoopt-studies]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
overrides_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY.SUB=VALUE", help="Override an experiment key; repeatable."
)


def studies_root(root: Path | None) -> Root:
    """Return the root for commands that take the name of a study rather than an experiment file."""
    from autoopt.search.paths import Root, default_root

    return Root(root.absolute() if root else default_root())


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text unchanged: no emoji codes, no automatic highlighting."""
    import os
    import sys

    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    made = Console(file=stream, emoji=False, highlight=False, width=width)
    made.on_broken_pipe = _raise_broken_pipe  # type: ignore[method-assign]
    return made


def _raise_broken_pipe() -> None:
    """Leave a closed pipe to the outermost handler; Rich would exit with 1."""
    raise BrokenPipeError


def warn(message: str) -> None:
    """Print a warning to stderr."""
    from autoopt.search.report.sanitize import printable

    click.echo(f"warning: {printable(message)}", err=True)


def print_json(document: Any) -> None:
    """Print one JSON document. Non-ASCII characters are escaped, so that none can control the terminal."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def command_line(*parts: object, **options: object) -> str:
    """Return a command as typed in a shell: options that are None or False are left out, lists are repeated."""
    words = ["autoopt", *map(str, parts)]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        for item in value if isinstance(value, tuple | list) else [value]:
            if item is not None and item is not False:
                words += [option] if item is True else [option, str(item)]
    return shlex.join(words)


@dataclass
class Session:
    """What the outermost handler needs to know about the command that runs."""

    stop: Interruption
    folder: Path | None = None
    """Where the command writes; None if it writes nothing."""


@contextmanager
def note_on_failure(note: Callable[[], str], *, folder: Path | None = None) -> Iterator[None]:
    """Add a note to any error raised inside, such as how to resume; not to a ``UsageError``, which names its remedy.

    ``note`` is called once it is needed. ``folder`` is where the command writes.
    """
    context = click.get_current_context(silent=True)
    session = context.find_object(Session) if context else None
    if session is not None:
        session.stop.notes.append(note)
        session.folder = folder
    try:
        yield
    except UsageError:
        raise
    except BaseException as error:
        error.add_note(note())
        raise
