"""Signals that stop a command: one orderly, two at once, three in any case, also while a library keeps it busy."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

PROGRAM = """
import subprocess, sys, time
import click
from autoopt.search.cli.main import autoopt
from autoopt.search.cli.options import note_on_failure

@autoopt.command()
def wait():
    with note_on_failure(lambda: "To resume: autoopt wait"):
        child = subprocess.Popen(["sleep", "600"])
        try:
            click.echo(child.pid)
            {body}
        except KeyboardInterrupt:
            click.echo("ending")
            time.sleep(600)

autoopt(["wait"])
"""
SLEEPING = "time.sleep(600)"
BUSY = "import hashlib; click.echo('busy'); hashlib.pbkdf2_hmac('sha256', b'a', b'b', 2**31 - 1)"
"""A call into C of many minutes, in which Python runs no handler."""


@contextmanager
def running(body: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the command, and yield it with the id of its child."""
    command = [sys.executable, "-c", PROGRAM.format(body=body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process, int(process.stdout.readline())
        process.kill()


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout[:1]
    return state in ("S", "R")


def test_the_second_signal_ends_a_command_that_takes_long_to_end_and_its_children() -> None:
    with running(SLEEPING) as (process, child):
        assert process.stdout
        assert process.stderr
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "ending\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 143
        lines = process.stderr.read().strip().splitlines()
        assert lines == ["Error: stopped at once; trials that were running run again", "To resume: autoopt wait"]
        assert not is_running(child)


def test_a_library_that_keeps_the_command_busy_does_not_keep_it_alive() -> None:
    with running(BUSY) as (process, child):
        assert process.stdout
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert not is_running(child)
