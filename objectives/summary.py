"""What was understood of the data: rows of each split, classes with their counts, and rows left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.objectives.data.rows import LeftOut
from autoopt.objectives.pools import PARTS
from autoopt.objectives.scoring import bootstrap
from autoopt.objectives.task import Task

if TYPE_CHECKING:
    from autoopt.objectives.data.text_data import TextData


@dataclass(frozen=True)
class DataSummary:
    """The data of a study as it was read."""

    columns: str
    """Which columns are read: ``texts from the column 'text', labels from 'label'``."""
    answers: str
    """What a model has to answer: ``one of 5 classes``."""
    rows: Mapping[str, int]
    """Number of examples of each split, and of unlabeled texts."""
    counts: Mapping[str, Mapping[str, int]]
    """Number of examples of each class in each split, the commonest class first."""
    left_out: tuple[LeftOut, ...]
    constant_quality: float | None
    """Quality on the validation data of always giving the commonest answer; None if there is no such answer."""
    bag_of_words_quality: float | None = None
    """The same of a linear model of words; None unless the task is to give one class to a text."""

    @classmethod
    def of(cls, task: Task, data: TextData) -> DataSummary:
        splits = {"train": data.train, "validation": data.validation, "test": data.test}
        counts = {part: task.class_counts(splits[part]) for part in PARTS}
        names = sorted(counts["train"], key=lambda name: (-counts["train"][name], name))
        return cls(
            columns=next(iter(data.notes), ""),
            answers=task.describe_answers(data.train),
            rows={**{part: len(splits[part]) for part in PARTS}, "unlabeled": len(data.unlabeled)},
            counts={name: {part: counts[part][name] for part in PARTS} for name in names},
            left_out=data.left_out,
            constant_quality=_quality(task, data, task.constant_answers(data.train, data.validation)),
            bag_of_words_quality=_quality(task, data, task.bag_of_words_answers(data.train, data.validation)),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": self.columns,
            "answers": self.answers,
            "rows": dict(self.rows),
            "classes": {name: dict(counts) for name, counts in self.counts.items()},
            "left_out": [
                {"split": item.part, "reason": item.reason, "rows": item.rows, "details": list(item.details)}
                for item in self.left_out
            ],
            "constant_quality": self.constant_quality,
            "bag_of_words_quality": self.bag_of_words_quality,
        }


def _quality(task: Task, data: TextData, answers: list[Any] | None) -> float | None:
    """Return the quality of these answers to the validation data; None if there are none."""
    if answers is None:
        return None
    return bootstrap.estimate(task.outcomes(data.validation, answers), statistic=task.quality)
