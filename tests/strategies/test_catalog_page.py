"""The page of the strategies is the one that their docstrings and the measured figures make."""

from __future__ import annotations

import re

from autoopt.strategies.catalog import catalog
from tests.benchmarks.catalog_page import PAGE, measured, page

ROW = {
    "experiment": "bbc-news",
    "strategy": "layer_drop",
    "beside": "without recovery",
    "quality": 95.0,
    "points": -0.25,
    "points_low": -1.5,
    "points_high": 1.0,
    "latency": 0.51,
    "latency_low": 0.5,
    "latency_high": 0.53,
    "noisy": False,
    "size_mb": 70.3,
    "seconds": 9.0,
}


def sections(text: str) -> dict[str, str]:
    """Return what stands under each heading, the next family's heading left out."""
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)[1:]
    return {name: body.split("\n## ")[0].strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def test_no_section_of_the_page_is_out_of_date() -> None:
    """A new strategy is added without it: its section comes with its figures."""
    written, current = sections(PAGE.read_text(encoding="utf-8")), sections(page(measured()))
    assert {name: body for name, body in written.items() if current.get(name) != body} == {}, (
        "run python tests/benchmarks/catalog_page.py"
    )
    assert {row["strategy"] for row in measured()} - {"baseline"} <= set(written)


def test_every_strategy_has_its_section_with_what_it_gave() -> None:
    text = page([ROW])
    assert [line[4:] for line in text.splitlines() if line.startswith("### ")] == list(catalog())
    section = text[text.index("### layer_drop") :].split("### ")[1]
    assert (
        "*Gave* on bbc-news (without recovery) -0.2 points [-1.5, +1.0], latency 0.51 [0.50, 0.53], 70.3 MB." in section
    )
    assert "*Needs* layers, one pass." in text[text.index("### weight_sharing") :].split("### ")[1]
