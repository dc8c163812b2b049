"""Examples of a study, split into training, validation and test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from autoopt.objectives.data.rows import LeftOut
from autoopt.strategies.candidate import Example, Span


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
    reserve: tuple[Example, ...] = ()
    """Training examples beyond the sample that there is time for; what learns in seconds reads them too."""
    is_running_text: bool = False
    """Whether a text continues in the next, so that splits and samples are of consecutive texts."""


def fingerprint_of(data: TextData) -> str:
    """Return the fingerprint of the data's examples."""
    parts = (data.train, data.validation, data.test)
    splits = ([(item.text, item.label, item.text_pair) for item in part] for part in parts)
    reserve = [[(item.text, item.label, item.text_pair) for item in data.reserve]] if data.reserve else []
    content = json.dumps([data.labels, *splits, data.unlabeled, *reserve], default=_span_to_json)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _span_to_json(span: Span) -> tuple[str, int]:
    return span.text, span.start
