"""What was understood of the data, as tables of a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoopt.objectives.pools import PARTS
from autoopt.objectives.summary import DataSummary
from autoopt.search.report.sanitize import plain_text
from autoopt.search.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MAX_CLASSES = 20
"""Number of classes that are listed, the commonest first."""


def print_data(summary: DataSummary, out: Console) -> None:
    """Print which columns were read and as what, the sizes of the splits, and the rows left out."""
    out.print(
        f"[bold]Data[/bold]: {plain_text(summary.columns)}; to answer: {plain_text(summary.answers)}", soft_wrap=True
    )
    out.print(counts_table(summary))
    if summary.left_out:
        out.print(left_out_table(summary))


def counts_table(summary: DataSummary) -> Table:
    """Return the number of examples of each split, and of each of the commonest classes."""
    table = new_table("", *PARTS)
    table.add_row("examples", *(f"{summary.rows[part]:,}" for part in PARTS))
    listed = list(summary.counts.items())
    for name, counts in listed[:MAX_CLASSES]:
        table.add_row(plain_text(name), *_cells(counts))
    if others := listed[MAX_CLASSES:]:
        sums = {part: sum(counts[part] for _, counts in others) for part in PARTS}
        table.add_row(f"{len(others):,} more", *_cells(sums))
    if summary.rows["unlabeled"] > summary.rows["train"]:
        table.add_row("unlabeled texts", f"{summary.rows['unlabeled']:,}")
    return table


def left_out_table(summary: DataSummary) -> Table:
    """Return how many rows of which split are left out, why, and where they are."""
    table = new_table("left out", "of", "because", "where")
    for item in summary.left_out:
        details = "\n".join(map(plain_text, item.details))
        table.add_row(f"{item.rows:,}", plain_text(item.part), plain_text(item.reason), details)
    return table


def _cells(counts: Mapping[str, int]) -> list[str]:
    return [f"{counts[part]:,}" for part in PARTS]
