"""Text classification: one class for each text or pair of texts, or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoopt.objectives.data.labelled import read_labelled
from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.tables.table import Table
from autoopt.objectives.tasks.sequence_classification import SequenceClassification


@dataclass(frozen=True)
class TextClassification(SequenceClassification):
    """Any number of classes, several for each text if the data has lists of them."""

    metrics = ("accuracy", "macro_f1", "micro_f1", "mcc", "f1")
    sample = (
        {"text": "Chelsea won the cup", "label": "sport"},
        {"text": "Shares fell sharply today", "label": "business"},
        {"text": "The coach praised his striker", "label": "sport"},
        {"text": "The bank reports a profit", "label": "business"},
        {"text": "A late goal decided the match", "label": "sport"},
        {"text": "Prices grow faster than sales", "label": "business"},
    )

    @classmethod
    def read(
        cls, table: Table, settings: DataSettings, *, metric: str | None, train_rows: Sequence[Row] = ()
    ) -> Reading:
        return read_labelled(table, settings, metric=metric or "accuracy", train_rows=train_rows)
