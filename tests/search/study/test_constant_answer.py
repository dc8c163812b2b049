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
