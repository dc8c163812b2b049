from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.scoring.bootstrap import Difference
from autoopt.search.report.tables import Row, describe_state, front_table, outcome_rows, stages_table
from autoopt.search.study.evidence import Seeds, Spread
from autoopt.search.study.verification import Verified
from autoopt.search.trial.record import State, TrialRecord
from tests.search.samples import HOSTILE, baseline, outcome, quality, record, verified


def printed(renderable: RenderableType, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, emoji=False, highlight=False).print(renderable)
    return out.getvalue()


def front(width: int) -> str:
    rows, last = outcome_rows(outcome())
    return printed(front_table(rows, last, width=width, title="news"), width)


@pytest.mark.parametrize("width", [60, 80, 100, 119, 120, 160, 240])
def test_nothing_of_a_front_is_cut_at_any_width(width: int) -> None:
    shown = front(width)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    words = "".join(shown.split())
    for part in ("champion", "balanced", "fastest", "smallest", "baseline", "layer_drop(keep=0.5)", "int8_dynamic"):
        assert part in words


@pytest.mark.parametrize("width", [80, 160])
def test_a_row_has_both_qualities_the_latency_the_speed_and_the_size(width: int) -> None:
    shown = front(width)
    for part in ("96.5 % [94.5, 97.5]", "test 95.5 % [94.0, 97.0]", "7.5 ms [7.3, 7.7]", "4.0x [3.9, 4.1] faster"):
        assert part in shown
    for part in ("30.0 MB", "3.0x smaller", "8.0x [7.8, 8.2] faster", "90.0 MB"):
        assert part in shown
    assert "1.0x" not in shown  # The baseline is not compared with itself.


@pytest.mark.parametrize("width", [80, 160])
def test_a_row_says_how_it_differs_from_the_baseline_on_test_and_how_it_fares_under_other_seeds(width: int) -> None:
    seeds = Seeds((0, 1), Spread((0.96, 0.94)), Spread((0.95, 0.93)))
    model = verified(record(3), difference=Difference(0.0031, -0.0079, 0.0141, 0.62), seeds=seeds)
    rows, last = outcome_rows(outcome(models=(model,), named={"champion": 3}))
    shown = printed(front_table(rows, last, width=width), width)
    for part in ("+0.3 points [-0.8, 1.4]", "to the baseline (p = 0.62)", "2 seeds: 95.0 ± 1.4 %", "test 94.0 ± 1.4 %"):
        assert shown.count(part) == 1
    assert max(map(len, shown.splitlines())) <= width


def with_gap(of: TrialRecord, test: float) -> Verified:
    """Validation is at 96.5 % [94.5, 97.5] or, of the baseline, 97.0 % [95.0, 98.0]; test is known to 1 point."""
    return Verified(of, {"test_quality": quality(test, test - 0.01, test + 0.01, "test_quality")})


@pytest.mark.parametrize(
    ("test", "of_baseline", "expected"),
    [
        (0.955, 0.965, ""),
        (0.945, 0.965, ""),  # Outside the interval of validation, and still explained by both together.
        (
            0.90,
            0.965,
            "6.5 points above test (0.5 points above for the baseline), more than the intervals explain: too many",
        ),
        (
            0.90,
            0.90,
            "6.5 points above test (7.0 points above for the baseline), more than the intervals explain: the",
        ),
        (
            0.999,
            0.965,
            "3.4 points below test (0.5 points above for the baseline), more than the intervals explain: the",
        ),
    ],
)
@pytest.mark.parametrize("width", [60, 160])
def test_a_gap_between_validation_and_test_is_said_when_the_intervals_do_not_explain_it_and_only_then(
    test: float, of_baseline: float, expected: str, width: int
) -> None:
    model, reference = with_gap(record(3), test), with_gap(baseline(), of_baseline)
    rows, last = outcome_rows(outcome(baseline=reference, models=(model,), named={"champion": 3}))
    shown = " ".join(printed(front_table(rows, last, width=width), width).split())
    assert (f"trial 3: validation is {expected}" in shown) is bool(expected)
    assert shown.count("intervals explain") == bool(expected) + (of_baseline == 0.90)


def test_the_baseline_was_not_chosen_so_a_gap_of_its_own_is_laid_to_the_splits() -> None:
    rows, last = outcome_rows(outcome(baseline=with_gap(baseline(), 0.90)))
    assert last.remark == (
        "validation is 7.0 points above test, more than the intervals explain: the two splits differ"
    )
    assert [row.remark for row in rows] == ["", ""]


def test_a_row_has_what_an_objective_asked_for() -> None:
    further = {
        "throughput": replace(quality(133.0, 130.0, 136.0, "throughput"), unit="examples/s"),
        "memory": Measurement.exact("memory", 143.2e6, "bytes", Direction.MINIMIZE),
    }
    row = Row(1, "lora", {**record().measurements, **further})
    shown = printed(front_table([row], Row.from_verified(verified(baseline())), width=160), 160)
    assert "133 examples/s [130, 136]" in shown
    assert "memory 143.2 MB" in shown


def test_the_baseline_comes_last_and_once_even_where_it_is_on_the_front() -> None:
    rows, last = outcome_rows(outcome(models=(verified(baseline()), verified(record(3)))))
    shown = printed(front_table(rows, last, width=160), 160)
    assert shown.count("baseline") == 1
    assert shown.index("layer_drop") < shown.index("baseline")


def test_of_an_empty_front_the_least_violating_model_is_shown() -> None:
    failed = verified(record(9, violations={"size <= 1MB": 0.5}))
    rows, _ = outcome_rows(outcome(models=(), named={}, failed=(failed,)))
    assert [(row.number, row.names) for row in rows] == [(9, ("over budget",))]


def test_hostile_text_neither_steers_the_terminal_nor_is_obeyed_as_markup() -> None:
    rows = [Row(1, HOSTILE, record().measurements, (HOSTILE,))]
    shown = printed(front_table(rows, Row.from_verified(verified(baseline())), width=200), 200)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "[red]x[/red]evil" in shown


def test_a_model_without_a_test_score_shows_none() -> None:
    rows = [Row.from_verified(Verified(record(), {}))]
    shown = printed(front_table(rows, Row.from_verified(verified(baseline())), width=160), 160)
    assert "test" not in shown.split("───")[-2]


def test_the_stages_say_what_was_reused() -> None:
    lines = printed(stages_table(record()), 80).splitlines()
    assert [line.split() for line in lines if "_" in line] == [
        ["layer_drop", "0.4", "s"],
        ["recovery_finetuning", "1:15", "reused"],
    ]


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        (State.COMPLETE, "", "misses size <= 1MB by 50 %"),
        (State.REJECTED, "size <= 1MB: over by at least 50%", "rejected: size <= 1MB: over by at least 50%"),
        (State.FAILED, "Diverged: the loss is nan", "failed: Diverged: the loss is nan"),
        (State.STOPPED, "before recovery", "stopped early: before recovery"),
        (State.RUNNING, "", "running"),
    ],
)
def test_the_verdict_of_every_state_is_said_in_words(state: State, reason: str, expected: str) -> None:
    assert describe_state(record(state=state, reason=reason, violations={"size <= 1MB": 0.5})) == expected
    assert describe_state(record()) == "within the budgets"
