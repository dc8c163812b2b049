"""Several drivers of one study at once: one searches it, the others name it and end."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.reliability.harness import Study, promise


def start_at_once(study: Study, drivers: int) -> Counter[int]:
    """Start as many searches of the study, and return how often each exit code occurred."""
    with ExitStack() as stack:
        runs = [stack.enter_context(study.searching()) for _ in range(drivers)]
        codes = [run.wait() for run in runs]
        for run, code in zip(runs, codes, strict=True):
            if code == 5:
                assert "this study is being searched by process " in run.errors
                assert "Traceback" not in run.errors
    tally = study.tally()
    assert tally.is_clean
    assert tally.ended == study.trials
    return Counter(codes)


@pytest.mark.nightly
def test_of_two_drivers_one_searches(tmp_path: Path) -> None:
    assert start_at_once(Study(tmp_path, trials=2), 2) == {0: 1, 5: 1}


@pytest.mark.nightly
def test_of_four_drivers_one_searches(tmp_path: Path) -> None:
    started_at = time.monotonic()
    for drivers in (2, 4, 2, 4):
        study = Study(tmp_path / f"{drivers}-{time.monotonic_ns()}", trials=4)
        assert start_at_once(study, drivers) == {0: 1, 5: drivers - 1}
    promise(
        "F9 several drivers at once",
        promised="of 2 and of 4 exactly one proceeds, 0 trials run twice",
        reached="2, 4, 2, 4: one each, 0 twice",
        seed=None,
        started_at=started_at,
    )
