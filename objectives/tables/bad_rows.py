"""Rows that cannot be used: reported together, and refused if they are more than a share of all rows."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.strategies.errors import DataError

SHOWN = 20
"""Number of rows that a report lists."""


def check_bad_rows(problems: Sequence[str], rows: int, *, tolerate: float, source: str) -> None:
    """Raise ``DataError`` with all ``problems`` if they are more than the share ``tolerate`` of ``rows``.

    A problem is the message of one row, which begins with its place.
    """
    if not problems or len(problems) <= tolerate * rows:
        return
    share = units.format_quantity(tolerate, units.SHARE)
    allowed = f", and data.tolerate leaves out {share} at most" if tolerate else ""
    if len(problems) == 1:
        raise DataError(f"{problems[0]} (1 of {rows:,} rows{allowed})")
    heading = f"{source}: {len(problems):,} of {rows:,} rows cannot be used{allowed}:"
    raise DataError("\n".join([heading, *first_problems(problems)]))


def first_problems(problems: Sequence[str]) -> list[str]:
    """Return the first ``SHOWN`` problems and, if there are others, a line with their number."""
    more = [f"and {len(problems) - SHOWN:,} more"] if len(problems) > SHOWN else []
    return [*problems[:SHOWN], *more]
