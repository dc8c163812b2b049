"""Locks exclude other holders, say whether they are held, and are freed when their holder dies."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoopt.strategies.system.locks import SharedLock, hold, is_held

HOLDER = """
import sys, time
from pathlib import Path
from autoopt.strategies.system.locks import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def holder() -> Iterator[Callable[[Path, float], subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def start(path: Path, seconds: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(path), str(seconds)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert processes[-1].stdout is not None
        assert processes[-1].stdout.readline() == "held\n"
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_lock_is_held_within_its_block_only(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    assert not is_held(path)
    assert not path.exists()
    with hold(path):
        assert is_held(path)
    assert not is_held(path)


def test_an_error_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hold(tmp_path / "lock"):
        raise KeyError
    assert not is_held(tmp_path / "lock")


def test_who_does_not_wait_is_refused_while_another_process_holds_it(
    tmp_path: Path, holder: Callable[[Path, float], subprocess.Popen[str]]
) -> None:
    process = holder(tmp_path / "lock", 60)
    assert is_held(tmp_path / "lock")
    with pytest.raises(BlockingIOError, match="lock is locked"), hold(tmp_path / "lock", wait=False):
        pass
    process.kill()
    process.wait()
    assert not is_held(tmp_path / "lock")


def test_who_waits_gets_it_as_soon_as_it_is_free(
    tmp_path: Path, holder: Callable[[Path, float], subprocess.Popen[str]]
) -> None:
    process = holder(tmp_path / "lock", 0.5)
    with hold(tmp_path / "lock"):
        assert process.wait(60) == 0


def test_a_lock_file_keeps_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("content")
    with hold(tmp_path / "lock"):
        pass
    assert (tmp_path / "lock").read_text() == "content"


def test_a_shared_lock_is_shared_and_an_exclusive_one_is_not(tmp_path: Path) -> None:
    import threading

    lock, events = SharedLock(tmp_path / "gate"), list[str]()

    def write() -> None:
        with lock.exclusive():
            events.append("exclusive")

    with lock.shared(), lock.shared():
        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(0.2)
        events.append("shared")
    writer.join()
    assert events == ["shared", "exclusive"]
