from __future__ import annotations

import io

from rich.console import Console

from autoopt.objectives.data.rows import LeftOut
from autoopt.objectives.summary import DataSummary
from autoopt.search.report.data_tables import print_data
from tests.search.samples import HOSTILE


def shown(**changes: object) -> str:
    counts = {f"class {i}": {"train": 30 - i, "validation": 2, "test": 1} for i in range(25)}
    values = {
        "columns": "texts from the column 'text', labels from 'label'",
        "answers": "one of 25 classes",
        "rows": {"train": 450, "validation": 50, "test": 25, "unlabeled": 450},
        "counts": counts,
        "left_out": (),
        "constant_quality": 0.04,
        **changes,
    }
    out = Console(file=io.StringIO(), width=160)
    print_data(DataSummary(**values), out)  # type: ignore[arg-type]
    return out.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_first_twenty_classes_are_listed_and_the_others_summed() -> None:
    text = shown()
    lines = [line.split() for line in text.splitlines()]
    assert ["examples", "450", "50", "25"] in lines
    assert ["class", "19", "11", "2", "1"] in lines
    assert ["5", "more", "40", "10", "5"] in lines
    assert "class 20" not in text
    assert "left out" not in text


def test_each_row_left_out_has_its_place_and_reason() -> None:
    text = shown(left_out=(LeftOut("cannot be read", 2, ("a.csv:7: 3 fields", "a.csv:9: no label"), "train"),))
    assert "a.csv:7: 3 fields" in text
    assert "a.csv:9: no label" in text
    assert "cannot be read" in text


def test_names_from_files_cannot_control_the_terminal() -> None:
    counts = {HOSTILE: {"train": 1, "validation": 1, "test": 1}}
    assert "\x1b" not in shown(counts=counts, left_out=(LeftOut("x", 1, (HOSTILE,), "train"),), columns=HOSTILE)
