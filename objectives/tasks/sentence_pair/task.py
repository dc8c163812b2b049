"""Sentence pairs: how two texts relate, as a class (entailment, paraphrase) or as a number (relatedness)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from autoopt.objectives.data.rows import Reading, Row
from autoopt.objectives.tasks.text_classification.base import TextLabels
from autoopt.objectives.tasks.text_classification.reading import read_labelled

if TYPE_CHECKING:
    from autoopt.objectives.data.settings import DataSettings
    from autoopt.objectives.file_formats.table import Table


@dataclass(frozen=True)
class SentencePair(TextLabels):
    """A number where the labels are numbers with fractions among them, or where a correlation is the metric."""

    metrics = ("accuracy", "macro_f1", "micro_f1", "mcc", "f1", "pearson", "spearman")
    sample = MappingProxyType({"text": "A man plays a guitar.", "text_pair": "Somebody makes music."})

    @classmethod
    def read(cls, table: Table, settings: DataSettings, *, metric: str | None, like: Sequence[Row] = ()) -> Reading:
        return read_labelled(table, settings, metric=metric, like=like, pairs=True)
