"""The examples of a study, split into training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

from autoopt.strategies.candidate import Example


@dataclass(frozen=True)
class TextData:
    """The examples of a study. No text of validation or test is in another split or in ``unlabeled``."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    unlabeled: tuple[str, ...]
    labels: tuple[str, ...]
    """The names of the classes; a class in an example's ``label`` is a place in it."""
    fingerprint: str
    """Sixteen hexadecimal digits of the sha256 of all of it."""
    notes: tuple[str, ...]
    """What was chosen and what was left out, for people to read."""
    warnings: tuple[str, ...] = ()
    """What is doubtful about it: texts in two splits, or with two labels."""
