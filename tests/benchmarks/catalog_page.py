"""Write strategies/CATALOG.md: what each strategy does, by its own docstring, and what it gave, as it was measured.

    python tests/benchmarks/catalog_page.py

The figures are those of tests/benchmarks/strategies_alone.json, which tests/benchmarks/strategies_alone.py makes.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoopt.strategies.catalog import catalog
from autoopt.strategies.strategy import Family, Strategy

MEASURED = Path(__file__).with_name("strategies_alone.json")
PAGE = Path(__file__).parents[2] / "strategies" / "CATALOG.md"
INTRODUCTION = """# The catalog of strategies

One file each, in the folder of its family; a recipe applies the families in the order below. `autoopt strategies NAME`
shows one with its knobs, `autoopt plan FILE` which ones an experiment offers, and why not the others.

*Gave* is what the strategy did when it was used alone, in points of quality and in latency and size as shares of the
baseline's, each with its 95 % interval: MiniLM fine-tuned in full, one thread, one text at a time. Other data and other
machines give other figures; that is what a search is for. A `*` marks a latency from a disturbed machine.

This page is made by `python tests/benchmarks/catalog_page.py`.
"""
TITLES = {
    Family.UNSUPERVISED: "Before the task is learned, from texts without labels",
    Family.AUGMENTATION: "What is done to the training examples, or to their batches",
    Family.ADAPTATION: "How the task is learned; a recipe has one of them, or cuts first and trains then",
    Family.COMPRESSION: "What is cut off, and how the rest recovers",
    Family.ACCELERATION: "What runs the finished model faster, or stores it smaller",
}


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The whole page, with what was measured."""
    parts = [INTRODUCTION]
    for family, title in TITLES.items():
        parts.append(f"## {family.value}\n\n{title}.\n")
        parts += [_section(s, rows) for s in catalog().values() if s.family is family]
    return "\n".join(parts)


def _section(strategy: type[Strategy], rows: Sequence[Mapping[str, Any]]) -> str:
    description = inspect.cleandoc(strategy.__doc__ or "").replace("``", "`")
    conditions = [
        f"*{title}* {', '.join(sorted(names))}."
        for title, names in (
            ("Needs", strategy.needs),
            ("Packages", strategy.packages),
            ("After", strategy.after),
            ("Not with", strategy.excludes),
        )
        if names
    ]
    gave = [_gave(row) for row in rows if row["strategy"] == strategy.name]
    found = [f"*Gave* {'; '.join(gave)}."] if gave else []
    blocks = [f"### {strategy.name}", strategy.summary(), description, *([" ".join(conditions)] if conditions else [])]
    return "\n\n".join([*blocks, *found]) + "\n"


def _gave(row: Mapping[str, Any]) -> str:
    noisy = "*" if row["noisy"] else ""
    beside = f" ({row['beside']})" if row["beside"] else ""
    return (
        f"on {row['experiment']}{beside} {row['points']:+.1f} points "
        f"[{row['points_low']:+.1f}, {row['points_high']:+.1f}], "
        f"latency {row['latency']:.2f}{noisy} [{row['latency_low']:.2f}, {row['latency_high']:.2f}], "
        f"{row['size_mb']:.1f} MB"
    )


def measured() -> list[dict[str, Any]]:
    """The rows that were kept; none where nothing was measured."""
    found: list[dict[str, Any]] = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else []
    return found


if __name__ == "__main__":
    PAGE.write_text(page(measured()), encoding="utf-8")
