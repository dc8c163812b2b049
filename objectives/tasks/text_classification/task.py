"""Text classification: one class for each text or pair of texts, or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.tasks.text_classification.base import TextLabels
from autoopt.objectives.tasks.text_classification.reading import read_labelled

if TYPE_CHECKING:
    from autoopt.objectives.data.settings import DataSettings
    from autoopt.objectives.file_formats.table import Table


@dataclass(frozen=True)
class TextClassification(TextLabels):
    """Any number of classes. Several for each text where the data has lists of them."""

    metrics = ("accuracy", "macro_f1", "micro_f1", "mcc", "f1")

    @classmethod
    def read(cls, table: Table, settings: DataSettings, *, metric: str | None, like: Sequence[Row] = ()) -> Reading:
        return read_labelled(table, settings, metric=metric or "accuracy", like=like)
