from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from autoopt.objectives.monitor import ValidationMonitor
from autoopt.objectives.task import Task
from tests import tiny


def test_the_score_is_the_quality_on_the_first_of_the_shuffled_examples() -> None:
    given, examples = tiny.candidate(layers=1), tiny.examples(40, seed=3)
    monitor = ValidationMonitor.of(examples)
    assert monitor.size == 40
    for limit in (10, 40):
        quality = cast("Task", given.task).score(given, monitor.examples[:limit])["quality"].value
        assert monitor.score(given, limit=limit) == pytest.approx(quality)


def test_a_file_sorted_by_class_is_shuffled_always_in_the_same_way() -> None:
    examples = sorted(tiny.examples(40, seed=3), key=tiny.class_of)
    first = ValidationMonitor.of(examples)
    assert first == ValidationMonitor.of(examples)
    assert sorted(map(str, first.examples)) == sorted(map(str, examples))
    assert {tiny.class_of(example) for example in first.examples[:8]} == {0, 1}


def test_it_asks_the_task_of_the_candidate() -> None:
    given = tiny.candidate(layers=1)
    monitor = ValidationMonitor.of(tiny.examples(40, seed=3))
    by_f1 = replace(given, task=replace(given.task, metric="macro_f1"))  # type: ignore[type-var]
    assert monitor.score(by_f1, limit=40) != monitor.score(given, limit=40)
