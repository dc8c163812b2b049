"""What autoopt trains: its baseline as it was and as it is, its frozen trunk, and the best model of a whole search."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoopt.objectives.monitor import ValidationMonitor
from autoopt.search.api import SearchResult, load_model, search
from autoopt.strategies.adaptation.contrastive_finetuning import ContrastiveFinetuning
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.adaptation.linear_probe import LinearProbe
from autoopt.strategies.candidate import Candidate, Example, Span
from autoopt.strategies.strategy import Strategy
from tests.benchmarks.methods.classical import plainly_opened
from tests.benchmarks.methods.data_sets import MODEL, Splits

OLD = {"learning_rate": 2e-4, "epochs": 3, "batch_size": 16, "layer_decay": 1.0, "warmup": 0.1, "head_first": False}
"""Full fine-tuning as it was by default when the head read the first token through a fresh pooler."""
SEARCH_MINUTES = 10


def trained(strategy: Strategy) -> Callable[[Splits], list[Any]]:
    """Return the method: the base model as autoopt opens it, trained by this strategy."""

    def method(splits: Splits) -> list[Any]:
        candidate = splits.task.open_model(MODEL, data=splits.data, seed=splits.seed)
        candidate = replace(candidate, monitor=ValidationMonitor.of(splits.data.validation))
        return _answers(splits, strategy, candidate)

    return method


def old_baseline(splits: Splits) -> list[Any]:
    """Return the answers of full fine-tuning under the head of transformers, for a fixed number of epochs."""
    return _answers(splits, FullFinetuning.model_validate(OLD), plainly_opened(splits))


def _answers(splits: Splits, strategy: Strategy, candidate: Candidate) -> list[Any]:
    candidate = strategy.apply(candidate, effort=1.0, seed=splits.seed)
    candidate = splits.task.tune(candidate, splits.data.validation)
    return candidate.task.answer(candidate, splits.data.test)  # type: ignore[attr-defined, no-any-return]


BASELINE, PROBE = trained(FullFinetuning()), trained(LinearProbe())


def without_pooling(splits: Splits) -> list[Any]:
    """Return the answers of the baseline under the head of transformers."""
    candidate = replace(plainly_opened(splits), monitor=ValidationMonitor.of(splits.data.validation))
    return _answers(splits, FullFinetuning(), candidate)


def without_validation(splits: Splits) -> list[Any]:
    """Return the answers of the baseline whose last weights are kept, whatever validation says."""
    return _answers(splits, FullFinetuning(), splits.task.open_model(MODEL, data=splits.data, seed=splits.seed))


PARTS: Mapping[str, Callable[[Splits], list[Any]]] = {
    "no-pooling": without_pooling,
    "no-head-first": trained(FullFinetuning(head_first=False)),
    "no-validation": without_validation,
    "layer-decay": trained(FullFinetuning(layer_decay=0.9)),
    "contrastive": trained(ContrastiveFinetuning()),
}
"""The baseline without one of its parts, or with one more."""


def best_of_search(splits: Splits) -> list[Any]:
    """Return the answers of the best model, by quality on validation, of a search without a budget."""
    with tempfile.TemporaryDirectory() as home:
        result = searched(splits, Path(home))
        return answers_of(splits, load_model(result.pull(Path(home) / "champion")).candidate, splits.data.test)


def searched(splits: Splits, home: Path, *, minutes: float = SEARCH_MINUTES) -> SearchResult:
    """Search without a budget, on two workers, under ``home``."""
    files = {name: _written(splits, name, home) for name in ("train", "validation", "test")}
    experiment = {
        "study": splits.name,
        "task": {"name": splits.task.name},
        "model": MODEL,
        "data": {**files, "max_length": splits.task.max_length},
        "objectives": ["quality", "latency_p50"],
        "search": {"trials": 1000, "timeout": f"{minutes}m", "seed": splits.seed},
        "resources": {"workers": 2},
    }
    return search(experiment, root=home / "studies")


def answers_of(splits: Splits, candidate: Candidate, examples: Sequence[Example]) -> list[Any]:
    """Return the answers of a model of a search, with classes numbered as in the benchmark."""
    task: Any = candidate.task
    return [_renumbered(answer, task.labels, splits.task.labels) for answer in task.answer(candidate, examples)]


def _written(splits: Splits, name: str, folder: Path) -> str:
    """Write one split as JSON lines and return its path."""
    path = folder / f"{name}.jsonl"
    rows = (row_of(splits, example) for example in getattr(splits.data, name))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def row_of(splits: Splits, example: Example) -> dict[str, Any]:
    """Return an example as a line of a file that a search reads."""
    label: Any = example.label
    names = splits.task.labels
    if splits.is_tagged:
        return {"tokens": example.text.split(" "), "tags": [names[number] for number in label]}
    if not names:
        spans: Sequence[Span] = label
        answers = {"text": [span.text for span in spans], "answer_start": [span.start for span in spans]}
        return {"question": example.text, "context": example.text_pair, "answers": answers}
    pair = {} if example.text_pair is None else {"text_pair": example.text_pair}
    return {"text": example.text, **pair, "label": names[label]}


def _renumbered(answer: Any, given: Sequence[str], wanted: Sequence[str]) -> Any:
    """Return the answer with classes numbered as in the benchmark."""
    if isinstance(answer, tuple):
        return tuple(_renumbered(number, given, wanted) for number in answer)
    return wanted.index(given[answer]) if isinstance(answer, int) else answer
