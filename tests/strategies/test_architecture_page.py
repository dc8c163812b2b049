"""The page of architectures is the one that the recorded figures make."""

from __future__ import annotations

from autoopt.strategies.catalog import catalog
from tests.benchmarks.architecture_page import PAGE, measured, page

RECORD = {
    "gpt2": {"causal_lm": {"works": 18, "withheld": {"bitfit": "gpt2 has no biases", "ia3": "gpt2 has no biases"}}},
    "bert": {
        "text_classification": {"works": 50, "withheld": {}},
        "causal_lm": {"works": 1, "withheld": {"lora": "it fails on this architecture: RuntimeError: 4 and 5"}},
    },
}


def test_the_page_is_not_out_of_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(measured()), "run python tests/benchmarks/architecture_page.py"


def test_no_strategy_is_named_that_is_gone() -> None:
    named = {name for by_task in measured().values() for tried in by_task.values() for name in tried["withheld"]}
    assert named <= set(catalog())


def test_a_cell_has_the_number_and_the_notes_of_those_that_do_not_work() -> None:
    lines = page(RECORD).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert table == [
        "| architecture | causal_lm | text_classification |",
        "|---|---|---|",
        "| bert | 1 of 2 (1) | 50 of 50 |",
        "| gpt2 | 18 of 20 (2) |  |",
    ]
    assert lines[-2:] == [
        "1. lora: it fails on this architecture: RuntimeError: N and N",
        "2. bitfit, ia3: the architecture has no biases",
    ]
