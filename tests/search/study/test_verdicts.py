"""Everyone who judges a trial comes to the same verdict: screening, driver, verification and ``front --budget``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.objectives.judging.budget import Limit
from autoopt.objectives.measurement import QUALITY, Direction, Measurement
from autoopt.search.experiment.experiment import load_experiment
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.study.study_view import StudyView
from autoopt.search.study.verdicts import judge_verified, rests_on_noise
from autoopt.search.study.verification import Verified
from autoopt.search.trial.execution import write_record
from autoopt.search.trial.record import State, TrialRecord
from autoopt.search.trial.run import excess
from tests.search.samples import BASELINE, SMALL, write_experiment
from tests.search.study.test_driver import Bench

Numbers = Mapping[str, float]
FASTER, SMALLER, AS_GOOD = "latency_p50 <= 0.5 * baseline", "memory <= 0.5 * baseline", "quality >= 0.9 * baseline"
LIMITS = tuple(map(Limit.parse, (FASTER, SMALLER, AS_GOOD)))
REFERENCE = {"quality": 0.8, "latency_p50": 10.0, "memory": 10e6, "size": 9e6}
KEPT = {"quality": 0.8, "latency_p50": 4.0, "memory": 4e6, "size": 4e6}
WITHOUT_MEMORY = {"quality": 0.8, "latency_p50": 4.0, "size": 4e6}
CASES = {
    "all kept": (KEPT, REFERENCE, {}),
    "one exceeded": (KEPT | {"latency_p50": 6.0}, REFERENCE, {FASTER: 0.2}),
    "one not measured": (WITHOUT_MEMORY, REFERENCE, {SMALLER: 1.0}),
    "baseline not measured": (KEPT, WITHOUT_MEMORY | {"latency_p50": 10.0}, {SMALLER: 1.0}),
}


def measured(numbers: Numbers) -> dict[str, Measurement]:
    higher = {QUALITY: Direction.MAXIMIZE}
    return {
        name: Measurement.exact(name, value, "", higher.get(name, Direction.MINIMIZE))
        for name, value in numbers.items()
    }


def trial(number: int, numbers: Numbers) -> TrialRecord:
    return TrialRecord(number, SMALL if number else BASELINE, State.COMPLETE, measured(numbers))


def by_driver(numbers: Numbers, reference: Numbers, folder: Path) -> TrialRecord:
    bench = Bench(StudyFolder(folder), limits=LIMITS)
    driver = bench.driver()
    for values in (reference, numbers):
        assignment = driver.next()
        assert assignment
        bench.finish(assignment)
        record = replace(trial(assignment.number, values), recipe=assignment.recipe, attempt=assignment.attempt)
        write_record(record, bench.folder.result(assignment.number))
        driver.record_result(assignment.number)
    return driver.records[1]


def by_verification(numbers: Numbers, reference: Numbers, _: Path) -> TrialRecord:
    return judge_verified(Verified(trial(1, numbers), {}), Verified(trial(0, reference), {}), LIMITS).record


def by_front(numbers: Numbers, reference: Numbers, folder: Path) -> TrialRecord:
    experiment = load_experiment(write_experiment(folder))
    records = [trial(0, reference), trial(1, numbers)]
    answer = StudyView("news", Root(folder).study("news"), experiment, records, None, None).nearest(LIMITS)
    assert answer
    return answer.record


@pytest.mark.parametrize("judged", [by_driver, by_verification, by_front])
@pytest.mark.parametrize("case", CASES)
def test_a_complete_trial_gets_the_same_verdict_from_all(
    case: str, judged: Callable[[Numbers, Numbers, Path], TrialRecord], tmp_path: Path
) -> None:
    numbers, reference, exceeded = CASES[case]
    record = judged(numbers, reference, tmp_path)
    assert set(record.violations) == {limit.text for limit in LIMITS}
    assert {limit: over for limit, over in record.violations.items() if over > 0} == pytest.approx(exceeded)
    assert record.feasible == (not exceeded)
    assert record.total_violation == pytest.approx(sum(exceeded.values()))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("all kept", ""),
        ("one exceeded", f"{FASTER}: over by at least 20%"),
        ("one not measured", ""),
        ("baseline not measured", ""),
    ],
)
def test_screening_says_the_same_of_what_is_measured_by_then(case: str, reason: str) -> None:
    numbers, reference, _ = CASES[case]
    costs = {name: value for name, value in numbers.items() if name != QUALITY}
    assert excess(measured(costs), LIMITS, measured(reference)) == reason


ABSOLUTE = "latency_p50 <= 5 ms"


@pytest.mark.parametrize(
    ("limits", "noisy", "changes", "doubtful"),
    [
        ([FASTER], {"latency_p50"}, {}, False),
        ([FASTER], {"latency_ratio", "latency_p50"}, {}, True),
        ([ABSOLUTE], {"latency_p50"}, {}, True),
        ([ABSOLUTE], {"latency_p50"}, {"corrections": {"latency_p50": 0.9}}, False),
        ([ABSOLUTE], {"latency_p50"}, {"state": State.REJECTED}, True),
        ([ABSOLUTE], {"latency_p50"}, {"state": State.FAILED}, False),
        ([ABSOLUTE], {"latency_p50"}, {"state": State.STOPPED}, False),
        ([ABSOLUTE], {"memory"}, {}, False),
        ([ABSOLUTE, SMALLER], {"latency_p50"}, {}, False),
        ([ABSOLUTE, SMALLER], {"latency_p50", "memory"}, {}, True),
        ([AS_GOOD], {"latency_p50"}, {}, False),
    ],
)
def test_a_verdict_is_doubtful_if_every_exceeded_limit_was_measured_on_a_disturbed_machine(
    limits: list[str], noisy: set[str], changes: dict[str, object], *, doubtful: bool
) -> None:
    parsed = [Limit.parse(text) for text in limits]
    numbers = {"quality": 0.5, "latency_p50": 9.0, "latency_ratio": 0.9, "memory": 9e6}
    measurements = {name: replace(item, noisy=name in noisy) for name, item in measured(numbers).items()}
    record = TrialRecord(1, SMALL, State.COMPLETE, measurements)
    record = replace(record, **changes)  # type: ignore[arg-type]
    judged = replace(record, violations=dict.fromkeys(limits, 0.5))
    assert rests_on_noise(judged, parsed) is doubtful
    assert not rests_on_noise(replace(judged, violations={}), parsed) or record.state is State.REJECTED


@pytest.mark.parametrize(("limit", "doubtful"), [(FASTER, False), (ABSOLUTE, True)])
def test_twice_a_limit_is_no_noise_of_a_ratio_timed_in_turn(limit: str, doubtful: bool) -> None:
    numbers = {"quality": 0.5, "latency_p50": 9.0, "latency_ratio": 0.9}
    measurements = {name: replace(item, noisy=True) for name, item in measured(numbers).items()}
    record = TrialRecord(1, SMALL, State.COMPLETE, measurements, violations={limit: 1.0})
    assert rests_on_noise(record, [Limit.parse(limit)]) is doubtful
