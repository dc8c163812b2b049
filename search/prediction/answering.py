"""Answer batches of texts, and put the answers beside the columns of the input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from autoopt.objectives.inputs import Input
from autoopt.search.prediction.reading import Batch

PREFIX = "predicted_"
"""Begins the names of the columns with answers, since a file often has a label of its own."""


class Model(Protocol):
    """What answers, such as ``api.LoadedModel``."""

    def predict(self, texts: Sequence[Input]) -> list[dict[str, Any]]: ...


def answered(model: Model, batches: Iterable[Batch]) -> Iterator[tuple[Batch, list[dict[str, Any]]]]:
    """Yield each batch with an answer to each of its rows."""
    for batch in batches:
        yield batch, model.predict(batch.inputs)


def shown_answers(batch: Batch, answers: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield each answer with the text that it is about."""
    for asked, answer in zip(batch.inputs, answers, strict=True):
        yield {**_named(asked), **answer}


def rows_with_answers(batch: Batch, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a batch with all of their columns, and the answers in columns that begin with ``PREFIX``."""
    columns = batch.table.columns
    return [
        {**dict(zip(columns, cells, strict=True)), **{f"{PREFIX}{name}": value for name, value in answer.items()}}
        for cells, answer in zip(batch.table.rows, answers, strict=True)
    ]


def _named(asked: Input) -> dict[str, str]:
    return {"text": asked} if isinstance(asked, str) else {"text": asked[0], "text_pair": asked[1]}
