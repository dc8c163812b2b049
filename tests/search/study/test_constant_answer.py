from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.search.study.constant_answer import doubt_about
from autoopt.search.trial.record import State
from tests.search import samples


@pytest.mark.parametrize(
    ("low", "constant", "is_doubted"),
    [(0.48, 0.52, True), (0.52, 0.52, True), (0.53, 0.52, False), (0.4, None, False), (0.9, 0.1, False)],
)
def test_a_baseline_no_better_than_the_commonest_answer_is_doubted(
    low: float, constant: float | None, is_doubted: bool
) -> None:
    record = replace(samples.baseline(), measurements={"quality": samples.quality(0.54, low, 0.95)})
    doubt = doubt_about(record, constant)
    assert bool(doubt) == is_doubted
    if is_doubted:
        assert "is not above that of always giving the commonest answer, 52.0%" in doubt
    assert doubt_about(replace(record, state=State.FAILED), constant) == ""


@pytest.mark.parametrize(
    ("value", "bag_of_words", "is_doubted"),
    [(0.80, 0.85, True), (0.85, 0.85, False), (0.9, 0.85, False), (0.5, None, False)],
)
def test_a_baseline_below_a_bag_of_words_is_doubted(value: float, bag_of_words: float | None, is_doubted: bool) -> None:
    record = replace(samples.baseline(), measurements={"quality": samples.quality(value, value - 0.05, value + 0.05)})
    doubt = doubt_about(record, 0.02, bag_of_words)
    assert bool(doubt) == is_doubted
    if is_doubted:
        assert doubt.startswith(
            "the baseline's quality, 80.0% (95 % interval 75.0% to 85.0%), is below that of a bag of"
        )
        assert "85.0%: gains over this baseline say little; train longer" in doubt


def test_a_baseline_at_chance_is_told_so_and_not_of_the_bag_of_words() -> None:
    record = replace(samples.baseline(), measurements={"quality": samples.quality(0.54, 0.48, 0.6)})
    assert "commonest answer" in doubt_about(record, 0.5, 0.7)
    assert "bag of words" not in doubt_about(record, 0.5, 0.7)
