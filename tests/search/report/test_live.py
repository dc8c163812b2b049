from __future__ import annotations

import io

import pytest
from rich.console import Console

from autoopt.objectives.measurement import Direction
from autoopt.objectives.scoring.bootstrap import Difference
from autoopt.search.report.live import LiveView, LogView, Progress, SearchInfo, render_progress, show_progress
from autoopt.search.trial.record import State, TrialRecord
from tests.search.samples import BASELINE, HOSTILE, SMALL, baseline, measured, record, verified

OBJECTIVES = {"quality": Direction.MAXIMIZE, "latency_p50": Direction.MINIMIZE}


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def __call__(self) -> float:
        return self.time_s


def info(timeout_s: float | None = None, study: str = "news") -> SearchInfo:
    return SearchInfo(study, trials=10, timeout_s=timeout_s, baseline_id=BASELINE.id, objectives=OBJECTIVES)


def running(number: int) -> TrialRecord:
    return TrialRecord(number, SMALL, State.RUNNING)


def terminal(width: int = 160, *, is_terminal: bool = False) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width, emoji=False, highlight=False, force_terminal=is_terminal), out


def drawn(progress: Progress, width: int = 160) -> str:
    console, out = terminal(width)
    console.print(render_progress(progress))
    return out.getvalue()


def test_baseline_and_best_feasible_trial_stay_in_sight_whatever_comes_later() -> None:
    progress = Progress(info())
    progress.observe(baseline())
    progress.observe(record(1))
    for number in range(2, 9):
        progress.observe(record(number, measurements=measured(0.5, 0.9)))
    shown = drawn(progress)
    assert "baseline  97.0 % [95.0, 98.0], 30.0 ms" in shown
    assert "best      97.0 %" in shown  # The baseline is feasible here, and of the best quality.
    progress.observe(record(0, BASELINE, measurements=measured(0.97, 1.0), violations={"latency_p50 <= 9ms": 2.3}))
    assert "best      96.5 % [94.5, 97.5], 7.5 ms [7.3, 7.7], 4.0x [3.9, 4.1], 30.0 MB  (trial 1" in drawn(progress)


def test_a_running_trial_is_shown_with_its_stage_and_the_time_in_it() -> None:
    clock = Clock()
    progress = Progress(info(), clock)
    progress.observe(running(4))
    assert "waiting for a worker" in drawn(progress)
    progress.stage(4, "recovery_finetuning")
    clock.time_s += 65
    row = next(line for line in drawn(progress).splitlines() if "recovery_finetuning  " in line)
    assert row.split()[:3] == ["4", "recovery_finetuning", "1:05"]
    progress.observe(record(4))
    assert "running" not in drawn(progress)


def test_the_trials_that_ended_last_are_shown_latest_first() -> None:
    progress = Progress(info())
    for number in (1, 2, 3, 4, 5, 6):
        progress.observe(running(number))
    for number in (6, 1, 2, 3, 4, 5):
        progress.observe(record(number))
    rows = [line for line in drawn(progress, width=200).splitlines() if "within the budgets" in line]
    assert [row.split()[0] for row in rows] == ["5", "4", "3", "2", "1"]
    assert all("layer_drop(keep=0.5) + " in row for row in rows)


def test_counts_tell_complete_feasible_rejected_and_failed_apart() -> None:
    progress = Progress(info())
    progress.observe(record(1))
    progress.observe(record(2, violations={"size <= 1MB": 1.0}))
    progress.observe(record(3, state=State.REJECTED))
    progress.observe(record(4, state=State.FAILED))
    progress.observe(record(6, state=State.STOPPED))
    assert (
        progress.describe_counts() == "5 of 10 trials: 2 complete (1 feasible), 1 stopped early, 1 rejected, 1 failed"
    )


def test_time_left_is_the_lesser_of_the_limit_and_the_forecast() -> None:
    clock = Clock()
    progress = Progress(info(timeout_s=600), clock)
    assert progress.describe_time_left() == "10:00 until the timeout"
    progress.observe(running(1))
    clock.time_s += 20
    progress.observe(record(1))
    assert progress.describe_time_left() == "3:00 left (estimated)"
    assert Progress(info()).describe_time_left() == ""


def test_running_trials_are_waited_for_once_the_time_is_used_up() -> None:
    clock = Clock()
    progress = Progress(info(timeout_s=60), clock)
    progress.observe(running(1))
    clock.time_s += 61
    assert progress.describe_time_left() == "the time is used up, waiting for running trials"
    assert "0:00" not in drawn(progress)


def test_the_training_of_the_baseline_is_estimated_by_its_progress() -> None:
    clock = Clock()
    progress = Progress(info(timeout_s=600), clock)
    progress.observe(running(1))
    progress.observe(TrialRecord(0, BASELINE, State.RUNNING))
    progress.stage(1, "recovery_finetuning, 50%")
    progress.stage(0, "full_finetuning")
    clock.time_s += 30
    assert progress.describe_time_left() == "9:30 until the timeout"
    progress.stage(0, "full_finetuning, 25%")
    assert progress.describe_time_left() == "1:30 until the baseline is trained (estimated)"
    progress.observe(baseline())
    assert progress.describe_time_left() == "4:30 left (estimated)"


def test_no_time_is_left_to_tell_once_every_trial_has_ended() -> None:
    progress = Progress(info(timeout_s=600))
    for number in range(10):
        progress.observe(running(number))
        progress.observe(record(number))
    assert progress.describe_time_left() == ""


def test_a_forecast_goes_by_the_trials_of_this_session_alone() -> None:
    clock = Clock()
    progress = Progress(info(), clock)
    for number in range(5):
        progress.observe(record(number))  # Stored by an earlier session: they took no time of this one.
    progress.observe(running(5))
    clock.time_s += 30
    progress.observe(record(5))
    assert progress.describe_time_left() == "2:00 left (estimated)"


def test_without_a_terminal_each_event_is_a_line() -> None:
    console, out = terminal()
    with show_progress(info(), console) as view:
        assert isinstance(view, LogView)
        view.say("resuming")
        view.observe(running(3))
        view.stage(3, "layer_drop")
        view.tick()
        view.observe(record(3))
        view.verified(verified(record(3)))
    lines = [line.split("] ", 1)[1] for line in out.getvalue().splitlines()]
    assert lines[:3] == [
        "resuming",
        f"trial 3 started: {SMALL}",
        "trial 3 ended: 96.5 % [94.5, 97.5], 7.5 ms [7.3, 7.7], 4.0x [3.9, 4.1], 30.0 MB; within the budgets",
    ]
    assert lines[3] == "1 of 10 trials: 1 complete (1 feasible), 0 stopped early, 0 rejected, 0 failed"
    assert lines[4].startswith("verified trial 3: test quality 95.5 % [94.0, 97.0], 7.5 ms")


def test_a_verified_model_is_told_with_its_difference_to_the_baseline() -> None:
    console, out = terminal()
    with show_progress(info(), console) as view:
        view.verified(verified(record(3), difference=Difference(0.0031, -0.0079, 0.0141, 0.62)))
    assert (
        "verified trial 3: test quality 95.5 % [94.0, 97.0], +0.3 points [-0.8, 1.4] to the baseline (p = 0.62), 7.5 ms"
    ) in out.getvalue()


def test_trials_of_an_earlier_session_are_counted_and_not_told_again() -> None:
    console, out = terminal()
    with show_progress(info(), console) as view:
        view.observe(record(1))
        view.observe(running(2))
        view.observe(record(2))
    assert "trial 1" not in out.getvalue()
    assert "2 of 10 trials" in out.getvalue()


def test_in_a_terminal_the_view_is_drawn_and_messages_stand_above_it() -> None:
    console, out = terminal(is_terminal=True)
    with show_progress(info(), console) as view:
        assert isinstance(view, LiveView)
        view.observe(baseline())
        view.say("hello")
        view.verified(verified(baseline()))
    assert "hello" in out.getvalue()
    assert "baseline  97.0 %" in out.getvalue()
    assert "verified the baseline: test quality 95.5 %" in out.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_hostile_text_does_not_steer_the_terminal(is_terminal: bool) -> None:
    console, out = terminal(is_terminal=is_terminal, width=300)
    with show_progress(info(study=HOSTILE), console) as view:
        view.observe(running(7))
        view.stage(7, HOSTILE)
        view.say(HOSTILE)
        view.observe(record(7, state=State.FAILED, reason=HOSTILE, measurements={}))
    text = out.getvalue()
    assert "\x1b]0;owned" not in text
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert "[red]x[/red]evil" in text


def test_a_long_recipe_wraps_in_a_narrow_terminal_instead_of_being_cut() -> None:
    progress = Progress(info())
    progress.observe(running(1))
    shown = drawn(progress, width=60)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 60
    for part in ("layer_drop(keep=0.5", "recovery_finetuning", "epochs=5)", "int8_dynamic"):
        assert part in shown
