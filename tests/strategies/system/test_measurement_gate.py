"""Steps of work and measurements of several processes, kept apart by locks that die with their holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoopt.search.api import LoadedModel
from autoopt.strategies.errors import EnvironmentProblem
from autoopt.strategies.system import measurement_gate
from tests import tiny

HOLDER = """
import sys, time
from pathlib import Path
from autoopt.strategies.system import measurement_gate

name, folder = sys.argv[1], Path(sys.argv[2])
(folder / "asked").touch()
with getattr(measurement_gate, name)():
    (folder / "held").touch()
    while not (folder / "release").exists():
        time.sleep(0.01)
"""
STILL_WAITING_S = 0.3
"""How long it is watched that nothing happens. A slow machine makes this weaker, never red."""
PATIENCE_S = 60


class Holder:
    """A process that takes a lock of the gate and holds it until it is told to let go."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, name, str(folder)], env={**os.environ, "TMPDIR": str(folder.parent)}
        )
        self.wait_for("asked")

    def wait_for(self, event: str) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not (self.folder / event).exists():
            assert self.process.poll() is None, f"the process ended before it {event}"
            assert time.monotonic() < give_up, f"not {event} within {PATIENCE_S} s"
            time.sleep(0.01)

    def wait_until_held(self) -> None:
        self.wait_for("held")

    def still_waits(self) -> bool:
        time.sleep(STILL_WAITING_S)
        return self.process.poll() is None and not (self.folder / "held").exists()

    def release(self) -> None:
        (self.folder / "release").touch()
        assert self.process.wait(PATIENCE_S) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Holder]]:
    holders: list[Holder] = []

    def start(name: str) -> Holder:
        holders.append(Holder(name, tmp_path / str(len(holders))))
        return holders[-1]

    yield start
    for holder in holders:
        holder.kill()


def test_a_step_waits_while_something_is_measured(start: Callable[[str], Holder]) -> None:
    measuring = start("measuring")
    measuring.wait_until_held()
    step = start("compute_step")
    assert step.still_waits()
    measuring.release()
    step.wait_until_held()


def test_a_measurement_waits_for_the_step_under_way_and_lets_no_other_begin(start: Callable[[str], Holder]) -> None:
    under_way = start("compute_step")
    under_way.wait_until_held()
    measuring = start("measuring")
    assert measuring.still_waits()
    later = start("compute_step")
    assert later.still_waits()
    under_way.release()
    measuring.wait_until_held()
    assert later.still_waits()
    measuring.release()
    later.wait_until_held()


def test_measurements_take_turns(start: Callable[[str], Holder]) -> None:
    first = start("measuring")
    first.wait_until_held()
    second = start("measuring")
    assert second.still_waits()
    first.release()
    second.wait_until_held()


def test_steps_do_not_wait_for_each_other(start: Callable[[str], Holder]) -> None:
    first, second = start("compute_step"), start("compute_step")
    first.wait_until_held()
    second.wait_until_held()


@pytest.mark.parametrize(("killed", "waits"), [("measuring", "compute_step"), ("compute_step", "measuring")])
def test_a_killed_holder_blocks_nobody(start: Callable[[str], Holder], killed: str, waits: str) -> None:
    holder = start(killed)
    holder.wait_until_held()
    waiting = start(waits)
    assert waiting.still_waits()
    holder.kill()
    waiting.wait_until_held()


@pytest.mark.parametrize(("holds", "waits"), [("measuring", "compute_step"), ("compute_step", "measuring")])
def test_a_stopped_holder_is_passed_over(start: Callable[[str], Holder], holds: str, waits: str) -> None:
    holder = start(holds)
    holder.wait_until_held()
    waiting = start(waits)
    assert waiting.still_waits()
    holder.process.send_signal(signal.SIGSTOP)
    waiting.wait_until_held()
    holder.process.send_signal(signal.SIGCONT)


def test_who_waits_for_long_says_for_whom(
    start: Callable[[str], Holder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = start("measuring")
    holder.wait_until_held()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(measurement_gate, "PATIENCE_S", 1.0)
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        holder.release()

    with measurement_gate.telling(tell), measurement_gate.compute_step():
        pass
    assert lines[0].startswith(f"waiting for process {holder.process.pid} (")
    assert sys.executable in lines[0]


def test_a_lock_that_somebody_else_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"autoopt-{os.getuid()}.gate").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EnvironmentProblem, match="set TMPDIR"), measurement_gate.measuring():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_who_gives_up_goes_on_without_the_gate(
    start: Callable[[str], Holder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("measuring").wait_until_held()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    asked: list[bool] = []

    def give_up() -> bool:
        asked.append(len(asked) >= 3)
        return asked[-1]

    with measurement_gate.compute_step(give_up):
        pass
    assert asked[:4] == [False, False, False, True]


def test_who_asks_a_model_does_not_wait_for_a_measurement(
    start: Callable[[str], Holder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("measuring").wait_until_held()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = LoadedModel(tiny.candidate("bert"))
    assert len(model.predict(["a0 a1 a2"])) == 1
    with (
        pytest.raises(LookupError, match="it waited"),
        measurement_gate.compute_step(give_up=_raising),
    ):
        pass


def _raising() -> bool:
    raise LookupError("it waited")
