"""A disk that becomes full: the search ends with code 5, keeps what it has, and goes on once there is space."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.harness import Study, promise

SIZES_KB = (350, 700, 1000, 1300, 1600, 1900, 2200, 2500, 2800, 3100)

if sys.platform != "linux" or os.getuid() != 0:
    pytest.skip("a small file system can be mounted by root on Linux only", allow_module_level=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted: {made.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def resize(disk: Path, size_kb: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size_kb}k", disk], check=True)


def ends_and_goes_on(study: Study, disk: Path, size_kb: int) -> bool:
    """Search on a disk of this size, then on a large one; return whether the small one became full."""
    resize(disk, size_kb)
    with study.searching() as run:
        code = run.wait()
        assert code in (0, 5), run.errors
        assert "Traceback" not in run.errors
        if code == 5:
            assert "Error: no space is left " in run.errors
            assert run.last_line.endswith(f"To resume: autoopt search {study.file} --root {study.root}")
        assert run.leftovers() == []
    assert study.remnants() == []
    resize(disk, 200_000)
    again = study.finish()
    assert "not registered" not in again.errors
    tally = study.tally()
    assert tally.is_clean
    assert tally.ended == study.trials
    states = [record["state"] for record in study.records()]
    assert set(states) == {"complete"}  # A trial that failed for lack of space is no result.
    return code == 5


@pytest.mark.nightly
def test_a_full_disk_ends_a_search_with_5_and_it_goes_on_with_space(tmp_path: Path, small_disk: Path) -> None:
    study = Study(tmp_path, trials=2, root=small_disk / "root")
    assert ends_and_goes_on(study, small_disk, 1000)


@pytest.mark.nightly
def test_a_disk_that_is_full_at_any_size(tmp_path: Path, small_disk: Path) -> None:
    started_at = time.monotonic()
    full = 0
    for size_kb in SIZES_KB:
        study = Study(tmp_path / str(size_kb), trials=4, root=small_disk / "root")
        full += ends_and_goes_on(study, small_disk, size_kb)
        study.clear()
    assert full >= len(SIZES_KB) - 3
    promise(
        "F8 a full disk",
        promised="at 10 sizes: code 5, 0 lost, 0 RUNNING after the next run, no unfinished file",
        reached=f"10 of 10 sizes, {full} of them full",
        seed=None,
        started_at=started_at,
    )
