"""Examples of a study, split into training, validation and test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoopt.objectives.data.rows import LeftOut
from autoopt.strategies.candidate import Example


@dataclass(frozen=True)
class TextData:
    """Examples of a study. No text of validation or test is in another split or in ``unlabeled``."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    unlabeled: tuple[str, ...]
    labels: tuple[str, ...]
    """Names of the classes; an example's ``label`` is an index into them."""
    fingerprint: str
    """First 16 hexadecimal digits of the SHA-256 of all examples."""
    notes: tuple[str, ...]
    """Remarks for the user: columns chosen, rows left out."""
    warnings: tuple[str, ...] = ()
    """Doubtful findings: texts in two splits, or with two labels."""
    sources: Mapping[str, int] = field(default_factory=dict)
    """Number of rows read from each address."""
    left_out: tuple[LeftOut, ...] = ()
    """Rows that are in none of the splits, by reason and source."""
