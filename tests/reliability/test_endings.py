"""Every way in which a search is stopped ends it orderly: its code, its last line, no process, nothing lost."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.reliability.harness import Run, Study, promise, wait_until

SIGNALS = {130: signal.SIGINT, 143: signal.SIGTERM}
PHASES = {
    "loading": "",
    "searching": "trial 0 started",
    "verifying": "verifying the front",
    "registering": "registering the front",
}
"""What a search prints as a phase begins."""
PROMPT_S = 8.0
"""How soon after the first signal a search must have ended."""


def reach(run: Run, study: Study, phase: str) -> None:
    if phase == "loading":
        wait_until((study.path / "lock").exists)
    else:
        run.wait_for(PHASES[phase])


def ends_orderly(study: Study, phase: str, code: int) -> float:
    """Stop a search in this phase, check how it ends and that it goes on, and return the seconds it took to end."""
    with study.searching() as run:
        reach(run, study, phase)
        sent_at = time.monotonic()
        run.send(SIGNALS[code])
        assert run.wait() == code, run.errors
        took_s = time.monotonic() - sent_at
        *_, stopped, note = run.errors.strip().splitlines()
        assert stopped == "Error: stopped"
        verb = "To try again" if phase == "loading" else "To resume"
        assert note.endswith(f"{verb}: autoopt search {study.file} --root {study.root}")
        assert "Traceback" not in run.errors
        assert run.leftovers() == []
    if phase != "loading":
        assert study.tally().running == 0
    study.finish()
    tally = study.tally()
    assert tally.is_clean
    assert tally.ended == study.trials
    assert study.remnants() == []
    return took_s


@pytest.mark.nightly
@pytest.mark.parametrize(("phase", "code"), [("searching", 130), ("verifying", 143)])
def test_the_first_signal_ends_a_search_orderly(tmp_path: Path, phase: str, code: int) -> None:
    ends_orderly(Study(tmp_path, trials=2), phase, code)


@pytest.mark.nightly
def test_the_first_signal_ends_a_search_orderly_in_every_phase(tmp_path: Path) -> None:
    started_at = time.monotonic()
    slowest_s = 0.0
    for code in SIGNALS:
        for phase in PHASES:
            study = Study(tmp_path / f"{phase}-{code}", trials=2)
            slowest_s = max(slowest_s, ends_orderly(study, phase, code))
    promise(
        "F2 F10 stopped by a signal",
        promised="130 or 143, within 8 s, 0 processes, 0 lost, in 4 phases",
        reached=f"8 of 8, within {slowest_s:.1f} s",
        seed=None,
        started_at=started_at,
    )


@pytest.mark.nightly
def test_the_second_signal_ends_a_search_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    study = Study(tmp_path, trials=2)
    with study.searching() as run:
        run.wait_for("trial 1 started")
        run.send(signal.SIGINT)
        time.sleep(0.05)
        sent_at = time.monotonic()
        run.send(signal.SIGINT)
        assert run.wait() == 130
        assert time.monotonic() - sent_at < PROMPT_S
        assert "Traceback" not in run.errors
        assert "To resume: autoopt search" in run.errors
        assert run.leftovers() == []
    study.finish()
    assert study.tally().is_clean


@pytest.mark.nightly
@pytest.mark.parametrize("phase", list(PHASES))
def test_the_third_signal_kills(tmp_path: Path, phase: str) -> None:
    study = Study(tmp_path, trials=2)
    with study.searching() as run:
        reach(run, study, phase)
        for _ in range(3):
            run.send(signal.SIGTERM)
            time.sleep(0.02)
        assert run.wait(patience_s=PROMPT_S) in (143, -signal.SIGTERM, -signal.SIGKILL)
        assert "Traceback" not in run.errors
    study.finish()
    assert study.tally().is_clean
