"""What one row of the data says, before its labels are numbered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from autoopt.strategies.candidate import Span

RawLabel: TypeAlias = str | float | tuple[str, ...] | tuple[Span, ...] | None
"""The name of a class, a number, several names or one for each word, the answers to a question; None: not known."""


@dataclass(frozen=True)
class Row:
    """A text with what is right, and where it stands."""

    text: str
    text_pair: str | None
    label: RawLabel
    place: str
    group: str = ""
    """Rows of one group stay together when the data is split: the questions on one context, say."""

    @property
    def key(self) -> tuple[str, str | None]:
        """What makes two rows the same text."""
        return self.text, self.text_pair


@dataclass(frozen=True)
class Reading:
    """The rows of a table as a task understands them."""

    rows: Sequence[Row]
    columns: str
    """Which columns were read, for people: ``texts from the column 'text', labels from 'intent'``."""
    notes: tuple[str, ...] = ()
    """What was left out."""
