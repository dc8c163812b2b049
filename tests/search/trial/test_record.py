"""What a record says of its trial."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.search.trial.execution import fail_if_not_finite
from autoopt.search.trial.record import State
from tests.search.samples import measured, record

ENDED = [state for state in State if state is not State.COMPLETE]


@pytest.mark.parametrize("state", ENDED)
def test_only_a_complete_trial_is_feasible(state: State) -> None:
    kept = record(violations={"size <= 1MB": -0.5})
    assert kept.feasible
    assert not replace(kept, state=state).feasible
    assert not replace(kept, violations={"size <= 1MB": 0.1}).feasible


@pytest.mark.parametrize("state", ENDED)
def test_only_a_complete_trial_has_a_final_quality(state: State) -> None:
    assert record().final_quality == 0.965
    assert record(state=state).final_quality is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_complete_trial_with_a_value_that_is_not_finite_has_failed(value: float) -> None:
    values = measured(0.9, 0.5)
    strange = record(measurements={**values, "size": replace(values["size"], value=value)})
    failed = fail_if_not_finite(strange)
    assert (failed.state, failed.measurements, failed.reason) == (State.FAILED, {}, "not a finite number: size")
    stopped = replace(strange, state=State.STOPPED)
    assert fail_if_not_finite(stopped) is stopped
    assert fail_if_not_finite(record()) == record()
