"""The test split put to one model, once: its scores, its difference to the baseline, and a file with every answer."""

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
    """What one model's answers to the test split have shown."""

    test: dict[str, Measurement]
    """The task's scores, their names with ``test_`` before them."""
    outcomes: NDArray[Any]
    """A row for each example, to compare other models with."""
    difference: Difference | None
    """Of the quality to the baseline's; None of the baseline itself."""

    def to_json(self) -> dict[str, Any]:
        """All but the outcomes."""
        return {
            "test": {name: item.to_json() for name, item in self.test.items()},
            "difference": asdict(self.difference) if self.difference else None,
        }


def evaluate_on_test(
    task: Task, candidate: Candidate, examples: Sequence[Example], *, baseline: NDArray[Any] | None, predictions: Path
) -> HeldOutResult:
    """Have the model answer every example once, and judge the answers.

    ``task`` is the one that was saved with the model, ``baseline`` the outcomes of the baseline on the same examples.
    The file ``predictions`` is written as ``write_predictions`` does.
    """
    answers = task.answer(candidate, examples)
    write_predictions(task, examples, answers, predictions)
    outcomes = task.outcomes(examples, answers)
    test = {f"{TEST_PREFIX}{name}": item for name, item in task.judge(outcomes).items()}
    difference = None if baseline is None else paired_difference(outcomes, baseline, statistic=task.quality)
    return HeldOutResult(test, outcomes, difference)


def write_predictions(task: Task, examples: Sequence[Example], answers: Sequence[Any], path: Path) -> None:
    """Write a line of JSON for each example, in the order of the split: ``text``, ``truth`` and ``answer``.

    There is ``text_pair`` where the example has one. Classes stand with their names. Written whole or not at all.
    """
    with whole_file(path) as work, work.open("w", encoding="utf-8") as file:
        for example, answer in zip(examples, answers, strict=True):
            texts = {"text": example.text, "text_pair": example.text_pair}
            line: dict[str, Any] = {name: text for name, text in texts.items() if text is not None}
            line |= {"truth": readable(example.label, task.labels), "answer": readable(answer, task.labels)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def readable(label: Any, classes: Sequence[str]) -> Any:
    """A label or an answer as plain data: the names of classes, numbers, the text of a span, a list of these."""
    match label:
        case Span():
            return label.text
        case tuple() | list():
            return [readable(part, classes) for part in label]
        case int() if 0 <= label < len(classes):
            return classes[label]
        case _:
            return label
