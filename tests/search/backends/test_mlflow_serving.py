from __future__ import annotations

import subprocess
import sys
from typing import Any

import pandas as pd
import pytest

from autoopt.search.backends.mlflow_serving import texts_of
from autoopt.strategies.errors import UsageError


@pytest.mark.parametrize(
    "model_input",
    [
        pd.DataFrame({"id": [1, 2], "text": ["one", "two"]}),
        {"text": ["one", "two"]},
        [{"text": "one"}, {"text": "two"}],
        ["one", "two"],
        pd.Series(["one", "two"]),
    ],
    ids=["table", "columns", "rows", "strings", "series"],
)
def test_texts_come_in_several_forms(model_input: Any) -> None:
    assert texts_of(model_input) == ["one", "two"]


def test_one_string_is_one_text_and_no_text_is_none() -> None:
    assert texts_of("one") == ["one"]
    assert texts_of([]) == []


def test_pairs_are_pairs() -> None:
    table = pd.DataFrame({"text": ["one", "two"], "text_pair": ["eins", "zwei"]})
    assert texts_of(table) == [("one", "eins"), ("two", "zwei")]


def test_a_table_without_texts_is_told_what_it_needs() -> None:
    with pytest.raises(UsageError, match=r"has the columns \['sentence'\]; it needs a column 'text'"):
        texts_of(pd.DataFrame({"sentence": ["one"]}))


def test_half_a_pair_is_refused() -> None:
    with pytest.raises(UsageError, match="row 1 has no 'text_pair'"):
        texts_of(pd.DataFrame({"text": ["one", "two"], "text_pair": ["eins", None]}))


def test_importing_the_code_of_the_served_model_loads_nothing_heavy() -> None:
    program = (
        "import sys, autoopt.search.backends.mlflow_serving; "
        "print([name for name in ('mlflow', 'torch', 'transformers', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
