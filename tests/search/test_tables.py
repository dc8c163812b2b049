from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from autoopt.search import tables
from autoopt.search.record import State
from autoopt.search.verification import Verified
from tests.search.samples import HOSTILE, baseline, outcome, record, verified


def printed(renderable: RenderableType, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, emoji=False, highlight=False).print(renderable)
    return out.getvalue()


def front(width: int) -> str:
    rows, last = tables.outcome_rows(outcome())
    return printed(tables.front(rows, last, width=width, title="news"), width)


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


def test_the_baseline_comes_last_and_once_even_where_it_is_on_the_front() -> None:
    rows, last = tables.outcome_rows(outcome(models=(verified(baseline()), verified(record(3)))))
    shown = printed(tables.front(rows, last, width=160), 160)
    assert shown.count("baseline") == 1
    assert shown.index("layer_drop") < shown.index("baseline")


def test_of_an_empty_front_the_least_violating_model_is_shown() -> None:
    failed = verified(record(9, violations={"size <= 1MB": 0.5}))
    rows, _ = tables.outcome_rows(outcome(models=(), named={}, failed=(failed,)))
    assert [(row.number, row.names) for row in rows] == [(9, ("over budget",))]


def test_hostile_text_neither_steers_the_terminal_nor_is_obeyed_as_markup() -> None:
    rows = [tables.Row(1, HOSTILE, record().measurements, (HOSTILE,))]
    shown = printed(tables.front(rows, tables.Row.of(verified(baseline())), width=200), 200)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "[red]x[/red]evil" in shown


def test_a_model_without_a_test_score_shows_none() -> None:
    rows = [tables.Row.of(Verified(record(), {}))]
    assert (
        "test" not in printed(tables.front(rows, tables.Row.of(verified(baseline())), width=160), 160).split("───")[-2]
    )


def test_the_stages_say_what_was_reused() -> None:
    lines = printed(tables.stages(record()), 80).splitlines()
    assert [line.split() for line in lines if "_" in line] == [
        ["layer_drop", "0.4", "s"],
        ["recovery_finetuning", "1:15", "reused"],
    ]


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        (State.COMPLETE, "", "misses size <= 1MB by 50 %"),
        (State.REJECTED, "size <= 1MB: over by at least 50%", "rejected: size <= 1MB: over by at least 50%"),
        (State.FAILED, "Diverged: the loss is nan", "failed: Diverged: the loss is nan"),
        (State.DUPLICATE, "the same recipe as trial 1", "the same recipe as trial 1"),
        (State.RUNNING, "", "running"),
    ],
)
def test_the_verdict_of_every_state_is_said_in_words(state: State, reason: str, said: str) -> None:
    assert tables.verdict(record(state=state, reason=reason, violations={"size <= 1MB": 0.5})) == said
    assert tables.verdict(record()) == "within the budgets"
