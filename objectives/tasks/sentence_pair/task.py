"""Sentence pairs: how two texts relate, as a class (entailment, paraphrase) or as a number (relatedness)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoopt.objectives.data.labelled import read_labelled
from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.inputs import InputNames
from autoopt.objectives.tables.table import Table
from autoopt.objectives.tasks.sequence_classification import SequenceClassification
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import UsageError


@dataclass(frozen=True)
class SentencePair(SequenceClassification):
    """A number if the labels are numbers and some have fractions, or if the metric is a correlation."""

    metrics = ("accuracy", "macro_f1", "micro_f1", "mcc", "f1", "pearson", "spearman")
    input_names = InputNames(needs_pair=True)
    sample = (
        {"text": "A man plays a guitar.", "text_pair": "Somebody makes music.", "label": "entailment"},
        {"text": "A dog runs in the park.", "text_pair": "The dog is asleep.", "label": "contradiction"},
        {"text": "Two women talk in a cafe.", "text_pair": "People are talking.", "label": "entailment"},
        {"text": "A child eats an apple.", "text_pair": "Nobody eats anything.", "label": "contradiction"},
        {"text": "A train leaves the station.", "text_pair": "A train is moving.", "label": "entailment"},
        {"text": "The shop opens at nine.", "text_pair": "The shop never opens.", "label": "contradiction"},
    )

    def predict(self, candidate: Candidate, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Return the answers to pairs of texts. Raises ``UsageError`` for a single text."""
        single = next((text for text in texts if isinstance(text, str)), None)
        if single is not None:
            raise UsageError(
                f"{self.name} compares two texts, and was given '{single:.60}' alone; give pairs: --text FIRST "
                "--text-pair SECOND, or a column 'text_pair'"
            )
        return super().predict(candidate, texts)

    @classmethod
    def read(
        cls, table: Table, settings: DataSettings, *, metric: str | None, train_rows: Sequence[Row] = ()
    ) -> Reading:
        return read_labelled(table, settings, metric=metric, train_rows=train_rows, pairs=True)
