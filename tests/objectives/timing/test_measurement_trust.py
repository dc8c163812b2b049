"""Small versions of ``tests/benchmarks/measurement_trust.py``, which has all of its runs and says what they show."""

from __future__ import annotations

import pytest

from autoopt.objectives.timing.neighbours import watch_processors
from tests.benchmarks import measurement_trust

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _seen() -> None:
    if watch_processors()() is None:
        pytest.skip("this system does not say what its processors do")


def test_a_busy_process_is_seen() -> None:
    finding = measurement_trust.neighbour(3)
    assert finding.passed, finding.detail


def test_a_crowded_machine_is_seen() -> None:
    finding = measurement_trust.crowded(2)
    assert finding.passed, finding.detail


def test_a_quiet_machine_is_seen_as_quiet() -> None:
    finding = measurement_trust.quiet(3, patience_s=20)
    if finding.passed is None:
        pytest.skip(finding.detail)
    assert finding.passed, finding.detail


def test_models_of_fewer_layers_come_out_as_faster_while_a_processor_is_kept_busy() -> None:
    finding = measurement_trust.ranking(1, busy=1)
    assert finding.passed, finding.detail
