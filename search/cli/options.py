"""What commands have in common: options, consoles, JSON on stdout, and the line that says how to go on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from autoopt.strategies.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from autoopt.search.paths import Root

Command = TypeVar("Command", bound=Callable[..., Any])

PIPED_WIDTH = 160
"""Columns where there is no terminal: a file has no width, and tables should not be squeezed into 80."""

root_option = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of all studies.  [default: $AUTOOPT_ROOT or ./autoopt-studies]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
overrides_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY.SUB=VALUE", help="Override a key of the experiment; repeatable."
)


def studies_root(given: Path | None) -> Root:
    """The root for commands that name a study and no experiment file."""
    from autoopt.search.paths import Root, default_root

    return Root(given.absolute() if given else default_root())


def console(*, stderr: bool = False) -> Console:
    """A console that takes text as it is: no smileys, no guesses at what to colour."""
    import os
    import sys

    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(file=stream, emoji=False, highlight=False, width=width)


def warn(message: str) -> None:
    """Say on stderr what is doubtful and no error."""
    from autoopt.search.report.sanitize import printable

    click.echo(f"warning: {printable(message)}", err=True)


def print_json(document: Any) -> None:
    """Print one document. Everything that is not ASCII is escaped: no text in it can steer a terminal."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def command_line(*parts: object, **options: object) -> str:
    """The command that a person types: options that are unset are left out, lists are repeated."""
    words = ["autoopt", *map(str, parts)]
    for name, value in options.items():
        for item in value if isinstance(value, tuple | list) else [value]:
            if item is not None and item is not False:
                words += [f"--{name}"] if item is True else [f"--{name}", str(item)]
    return shlex.join(words)


@contextmanager
def note_on_failure(text: str) -> Iterator[None]:
    """Say under any error that passes here what is safe and how to go on; a ``UsageError`` says so itself."""
    try:
        yield
    except UsageError:
        raise
    except BaseException as error:
        error.add_note(text)
        raise
