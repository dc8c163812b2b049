"""What examples are, in the words of ``Strategy.needs``."""

from __future__ import annotations

import pytest

from autoopt.objectives.task import label_facts
from autoopt.strategies.candidate import Example, Label


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((0, 0, 1), {"classes", "imbalanced", "single"}),
        ((0, 0, 0, 1, 1), {"classes", "single"}),
        ((0, 1), {"classes", "single"}),
        ((0.5, 0.5, 0.1), {"single"}),
        (((0, 1), (0, 1), (0,)), {"single"}),
        ((), set()),
    ],
)
def test_classes_are_imbalanced_if_one_is_twice_as_large_as_another(
    labels: tuple[Label, ...], expected: set[str]
) -> None:
    assert label_facts([Example("text", label) for label in labels]) == expected


def test_pairs_are_not_single() -> None:
    assert label_facts([Example("a", 0, text_pair="b"), Example("a", 1, text_pair="b")]) == {"classes"}
