"""A search learns what fits into a GPU: from shortages what not to try again, and from peaks what to reserve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.search.backends.optuna_storage import database_url
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.choosing.memory_needs import MemoryNeeds
from autoopt.search.paths import StudyFolder
from autoopt.search.study.stopping import StoppingRule
from autoopt.search.trial.execution import Assignment, read_record, write_record
from autoopt.search.trial.record import StageRecord, State, TrialRecord
from autoopt.strategies.errors import Shortage
from tests.search.study.test_driver import OBJECTIVES, SPACE, Bench, next_of

GIB = 2**30
LARGE = "distillation"
"""The stage that needs more memory than there is."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(StudyFolder(tmp_path), trials=30)


def needs_more_than_there_is(assignment: Assignment) -> bool:
    return any(step.name == LARGE for step in assignment.recipe.steps)


def finish(bench: Bench, assignment: Assignment) -> None:
    """Do the work of a trial on a GPU that is too small for one strategy."""
    bench.finish(assignment)
    path = bench.folder.result(assignment.number)
    record = read_record(path)
    if needs_more_than_there_is(assignment):
        shortage = Shortage("H200", used_bytes=78 * GIB, asked_bytes=4 * GIB, total_bytes=80 * GIB, stage=LARGE)
        record = replace(record, state=State.FAILED, measurements={}, reason="OutOfMemory: ...", shortage=shortage)
    else:
        stages = [StageRecord(step.name, 1.0, False, 0.0, "H200", 5 * GIB) for step in record.recipe.steps]
        record = replace(record, stages=tuple(stages))
    write_record(record, path)


def test_a_recipe_that_needs_more_memory_than_there_is_is_not_proposed_again(bench: Bench) -> None:
    driver = bench.driver(StoppingRule(30))
    while assignment := driver.next():
        assert not MemoryNeeds.of(driver.records).exceeds(assignment.recipe)
        finish(bench, assignment)
        driver.record_result(assignment.number)
    failed = [record for record in driver.records if record.shortage]
    assert 1 <= len(failed) <= 5
    assert len(driver.records) == 30


def test_a_resumed_search_remembers_it(bench: Bench) -> None:
    bench.trials = 12
    bench.run(bench.driver(), lambda assignment: finish(bench, assignment))
    bench.trials = 20
    resumed = bench.driver()
    needs = MemoryNeeds.of(resumed.records)
    assert needs.too_large
    while assignment := resumed.next():
        assert not needs.exceeds(assignment.recipe)
        finish(bench, assignment)
        resumed.record_result(assignment.number)


def test_a_trial_is_told_what_its_stages_took_before(bench: Bench) -> None:
    driver = bench.driver()
    first = next_of(driver)
    assert first.peaks == {}
    finish(bench, first)
    driver.record_result(first.number)
    later = next(trial for trial in iter(driver.next, None) if "full_finetuning" in str(trial.recipe))
    assert later.peaks == {"full_finetuning": 5 * GIB}
    assert Assignment.from_json(later.to_json()) == later


@pytest.mark.parametrize("sampler", ["gp", "nsga2", "random", "tpe"])
def test_no_sampler_proposes_what_is_excluded(bench: Bench, sampler: str) -> None:
    study = open_study(bench, sampler)
    proposed = [study.ask(exclude=lambda recipe: "layer_drop" in str(recipe)) for _ in range(12)]
    recipes = [str(trial.recipe) for trial in proposed if trial is not None]
    assert len(recipes) == 12
    assert not [recipe for recipe in recipes if "layer_drop" in recipe]


def test_a_sampler_is_told_that_a_trial_without_memory_is_infeasible(bench: Bench) -> None:
    study = open_study(bench, "tpe")
    ended = []
    for shortage in (None, Shortage("H200", 78 * GIB, 4 * GIB, 80 * GIB, LARGE)):
        trial = study.ask()
        assert trial is not None
        study.tell(TrialRecord(trial.number, trial.recipe, State.FAILED, reason="failed", shortage=shortage))
        ended.append(study._memory.trials[-1])
    failed, infeasible = ended
    assert (failed.state.name, infeasible.state.name) == ("FAIL", "PRUNED")
    assert not failed.constraints
    assert list(infeasible.constraints.values()) == [1.0] * len(bench.limits)


def open_study(bench: Bench, sampler: str) -> OptunaStudy:
    url = database_url(bench.folder.path / "optuna.db")
    return OptunaStudy.open(url, "s", SPACE, objectives=OBJECTIVES, limits=bench.limits, sampler=sampler, seed=0)
