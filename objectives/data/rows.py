"""Rows of the data before their labels are numbered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from autoopt.strategies.candidate import Span

RawLabel: TypeAlias = str | float | tuple[str, ...] | tuple[Span, ...] | None
"""Name of a class, a number, several names, one for each word, or the answers to a question; None if unknown."""


def names_of(label: RawLabel) -> tuple[str, ...]:
    """Return the names of the classes in a label."""
    if isinstance(label, tuple):
        return tuple(name for name in label if isinstance(name, str))
    return (label,) if isinstance(label, str) else ()


@dataclass(frozen=True)
class LeftOut:
    """A number of rows that are not used, for one reason."""

    reason: str
    rows: int
    details: Sequence[str] = ()
    """Places of some of them, or messages that begin with a place."""
    part: str = ""
    """Split or source that they are missing from; empty until it is known."""


@dataclass(frozen=True)
class Row:
    """A text, or a pair of texts, with its label and its place in the source."""

    text: str
    text_pair: str | None
    label: RawLabel
    place: str
    group: str = ""
    """Rows of one group stay together in a split, such as the questions on one context."""

    @property
    def key(self) -> tuple[str, str | None]:
        """The texts; rows with equal keys are duplicates."""
        return self.text, self.text_pair


@dataclass(frozen=True)
class Reading:
    """Rows of a table as a task reads them."""

    rows: Sequence[Row]
    columns: str
    """Description of the columns read: ``texts from the column 'text', labels from 'intent'``."""
    notes: tuple[str, ...] = ()
    """Remarks for the user, such as what was left out."""
    warnings: tuple[str, ...] = ()
    """Doubtful findings, such as rows without a label."""
    bad_rows: tuple[str, ...] = ()
    """For each row that is no example a message that begins with its place; they are not among ``rows``."""
    left_out: tuple[LeftOut, ...] = ()
    """Rows left out on purpose, by reason; those with no rows do not count."""
