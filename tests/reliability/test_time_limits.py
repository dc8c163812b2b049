"""Limits of time hold, whatever a trial does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.reliability.harness import Study, promise

TIMEOUT_S = 20
GRACE_S = 2
OVERSHOOT_S = 12.0
"""For the start of the worker, which does not count, and for the end of Ray and of this process."""


def ended_after_s(study: Study, *options: object, point: str) -> tuple[int, str, float]:
    """Hang a trial; return the exit code, the errors and the seconds from the first trial's start to the end."""
    with study.searching(*options, **study.failpoint(point, "hang")) as run:
        run.wait_for("trial 0 started")
        begun_at = time.monotonic()
        code = run.wait()
        seconds = time.monotonic() - begun_at
        assert run.leftovers() == []
        return code, run.errors, seconds


@pytest.mark.nightly
def test_a_hung_baseline_does_not_outlast_the_timeout(tmp_path: Path) -> None:
    started_at = time.monotonic()
    study = Study(tmp_path / "timeout", trials=2, workers=1)
    code, errors, seconds = ended_after_s(study, "--timeout", f"{TIMEOUT_S}s", point="before-record")
    assert code == 4, errors
    assert "the baseline did not finish: the time is used up" in errors
    slow = Study(tmp_path / "trial", trials=2, workers=1, changes={"search": {"trial_timeout": f"{TIMEOUT_S}s"}})
    code, errors, trial_seconds = ended_after_s(slow, point="before-record")
    assert code == 4, errors
    assert "the baseline failed with timeout: it ran for 2" in errors
    over = max(seconds - TIMEOUT_S - GRACE_S, trial_seconds - TIMEOUT_S)
    promise(
        "F11 a hung baseline",
        promised="ended by --timeout with its grace and by search.trial_timeout, from the start of its work",
        reached=f"at most {over:.1f} s later, the start of the worker included, its process ended",
        seed=None,
        started_at=started_at,
    )
    assert over < OVERSHOOT_S
