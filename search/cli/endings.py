"""How each command ends: the exit code and the one line for every error, foreseen or not."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import traceback
from pathlib import Path

import click

from autoopt.search.report.sanitize import printable
from autoopt.strategies.errors import AutooptError, DiskFull, EnvironmentProblem, UsageError
from autoopt.strategies.system.disk_full import is_disk_full

PIPE_CLOSED = 141
"""Exit code of a command whose reader has gone, as of one that SIGPIPE ends."""
UNFORESEEN = 1


def translate(error: Exception, folder: Path | None) -> AutooptError | None:
    """Return the error of ours that says what the user can do about ``error``; None if nobody foresaw it.

    ``folder`` is where the command writes.
    """
    if isinstance(error, AutooptError):
        return error
    if is_disk_full(error):
        where = folder or Path.cwd()
        return DiskFull(
            f"no space is left on the disk of {where}; free some, for instance with 'autoopt cache prune', or choose "
            "another with --root"
        )
    if isinstance(error, UnicodeEncodeError):
        return UsageError(f"an argument or a file name is not valid UTF-8: {error.object[:80]!r}")
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
        return EnvironmentProblem(
            f"{error.filename or folder or Path.cwd()}: {error.strerror}; choose a folder that you may write to, with "
            "--root or AUTOOPT_ROOT"
        )
    return None


def print_error(error: BaseException, message: str) -> None:
    """Print each line of ``message`` to stderr as ``Error: ...``, followed by the notes of ``error``."""
    for line in message.splitlines() or [type(error).__name__]:
        click.echo(f"Error: {printable(line)}", err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(printable(note), err=True)


def print_unforeseen(error: Exception, folder: Path | None) -> None:
    """Write the traceback to a file in ``folder``, or a temporary one, and print one line that names it."""
    text = "".join(traceback.format_exception(error))
    path = _write_trace(text, folder)
    cause = (str(error).strip().splitlines() or [""])[0][:200]
    place = f"; the traceback is in {path}" if path else f"\n{text}"
    print_error(error, f"{type(error).__name__}: {cause}{place}. Please report it")


def _write_trace(text: str, folder: Path | None) -> Path | None:
    """Return the file that holds the traceback; None if no file can be written."""
    for place in (folder, None):
        if place is None or place.is_dir():
            with (
                contextlib.suppress(OSError),
                tempfile.NamedTemporaryFile("w", prefix="error-", suffix=".txt", dir=place, delete=False) as file,
            ):
                file.write(text)
                return Path(file.name)
    return None


def close_pipe() -> None:
    """Keep Python from writing to the closed pipe once more, and complaining, when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
