"""Write strategies/ARCHITECTURES.md: how many strategies work on each architecture, by task, and why the others do not.

    python tests/benchmarks/architecture_page.py

The figures are those of tests/benchmarks/architectures.json, which `python -m tests.zoo --record` makes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).with_name("architectures.json")
PAGE = Path(__file__).parents[2] / "strategies" / "ARCHITECTURES.md"
INTRODUCTION = """# Architectures by tasks by strategies

Each strategy was tried on a tiny random model of each architecture: applied without training and with some, saved,
loaded and answered again, at several lengths, one text at a time and in a batch. A cell says how many strategies work
of those that are for the task at all, and in brackets why the others are withheld. An architecture that is not here is
tried in the same way before a search, and `autoopt plan` says what is withheld.

This page is made by `python -m tests.zoo --record [KIND...]`, which takes 20 to 40 s of a processor for an architecture
and adds it to those that are here.
"""

Record = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By architecture and task: ``works``, a number, and ``withheld``, reasons by strategy."""


def page(record: Record) -> str:
    """The whole page."""
    tasks = list(dict.fromkeys(task for by_task in record.values() for task in by_task))
    notes: dict[str, set[str]] = {}
    rows = []
    for kind, by_task in sorted(record.items()):
        cells = [_cell(by_task.get(task), kind, notes) for task in tasks]
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    head = [f"| architecture | {' | '.join(tasks)} |", "|---" * (1 + len(tasks)) + "|"]
    reasons = [
        f"{number}. {', '.join(sorted(strategies))}: {reason}"
        for number, (reason, strategies) in enumerate(notes.items(), 1)
    ]
    return "\n".join([INTRODUCTION, *head, *rows, "", "## Why the others are withheld", "", *reasons, ""])


def _cell(tried: Mapping[str, Any] | None, kind: str, notes: dict[str, set[str]]) -> str:
    """Return how many strategies work, with the numbers of the notes, to which reasons are added."""
    if tried is None:
        return ""
    numbers = set()
    for strategy, reason in tried["withheld"].items():
        general = _general(reason, kind)
        notes.setdefault(general, set()).add(strategy)
        numbers.add(1 + list(notes).index(general))
    marks = f" ({', '.join(map(str, sorted(numbers)))})" if numbers else ""
    return f"{tried['works']} of {tried['works'] + len(tried['withheld'])}{marks}"


def _general(reason: str, kind: str) -> str:
    """Return the reason without the name of the architecture and sizes of the tiny model."""
    without_name = re.sub(rf"(?<![\w-]){re.escape(kind)}(?![\w-])", "the architecture", reason)
    return re.sub(r"\d+", "N", without_name) if "it fails on" in reason else without_name


def measured() -> dict[str, Any]:
    """What was recorded; nothing where nothing was tried."""
    record: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    return record


def write(record: Record) -> None:
    """Keep the record and write the page."""
    MEASURED.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(page(record), encoding="utf-8")


if __name__ == "__main__":
    PAGE.write_text(page(measured()), encoding="utf-8")
