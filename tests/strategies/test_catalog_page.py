"""The page of the strategies is the one that their docstrings and the measured figures make."""

from __future__ import annotations

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


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(measured()), "run python tests/benchmarks/catalog_page.py"


def test_every_strategy_has_its_section_with_what_it_gave() -> None:
    text = page([ROW])
    assert [line[4:] for line in text.splitlines() if line.startswith("### ")] == list(catalog())
    section = text[text.index("### layer_drop") :].split("### ")[1]
    assert (
        "*Gave* on bbc-news (without recovery) -0.2 points [-1.5, +1.0], latency 0.51 [0.50, 0.53], 70.3 MB." in section
    )
    assert "*Needs* encoder." in section
