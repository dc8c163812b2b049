"""Evaluate a model on the test split: scores, difference to the baseline, and a file with every answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.objectives.measurement import Measurement
from autoopt.objectives.scoring.bootstrap import Difference, paired_difference
from autoopt.objectives.task import Task
from autoopt.search.study.evidence import TEST_PREFIX
from autoopt.strategies.candidate import Candidate, Example, Span
from autoopt.strategies.system.files import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class HeldOutResult:
    """Results of one model on the test split."""

    test: dict[str, Measurement]
    """The task's scores, with the prefix ``test_`` in their names."""
    outcomes: NDArray[Any]
    """One row per example, to compare other models with."""
    difference: Difference | None
    """Difference of the quality to the baseline's; None for the baseline itself."""

    def to_json(self) -> dict[str, Any]:
        """Return everything but the outcomes."""
        return {
            "test": {name: item.to_json() for name, item in self.test.items()},
            "difference": asdict(self.difference) if self.difference else None,
        }


def evaluate_on_test(
    task: Task, candidate: Candidate, examples: Sequence[Example], *, baseline: NDArray[Any] | None, predictions: Path
) -> HeldOutResult:
    """Have the model answer every example once, write its answers to ``predictions`` and score them.

    ``task`` is the one that was saved with the model, ``baseline`` the outcomes of the baseline on the same examples.
    """
    answers = task.answer(candidate, examples)
    write_predictions(task, examples, answers, predictions)
    outcomes = task.outcomes(examples, answers)
    test = {f"{TEST_PREFIX}{name}": item for name, item in task.judge(outcomes).items()}
    difference = None if baseline is None else paired_difference(outcomes, baseline, statistic=task.quality)
    return HeldOutResult(test, outcomes, difference)


def write_predictions(task: Task, examples: Sequence[Example], answers: Sequence[Any], path: Path) -> None:
    """Write one JSON object per line for each example, in order, with ``text``, ``truth`` and ``answer``.

    ``text_pair`` is added if the example has one. Classes are written by name. The file is replaced atomically.
    """
    with whole_file(path) as work, work.open("w", encoding="utf-8") as file:
        for example, answer in zip(examples, answers, strict=True):
            texts = {"text": example.text, "text_pair": example.text_pair}
            line: dict[str, Any] = {name: text for name, text in texts.items() if text is not None}
            line |= {"truth": readable(example.label, task.labels), "answer": readable(answer, task.labels)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def readable(label: Any, classes: Sequence[str]) -> Any:
    """Convert a label or an answer to plain data: names of classes, numbers, the text of a span, or a list of these."""
    match label:
        case Span():
            return label.text
        case tuple() | list():
            return [readable(part, classes) for part in label]
        case int() if 0 <= label < len(classes):
            return classes[label]
        case _:
            return label
