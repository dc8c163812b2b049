"""Child processes: they end with their parent, and what they say last is why they failed."""

from __future__ import annotations

import os
import sys
import threading


def exit_with_parent() -> None:
    """Exit as soon as stdin closes, since that means that the parent is gone.

    The process must have been started with a pipe as its stdin.
    """

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # Unbuffered: a thread in a buffered read aborts the interpreter at its end.
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def last_line(output: str) -> str:
    """Return the last line that a failed process has printed, which names its error."""
    return (output.strip().splitlines() or ["no message"])[-1]
