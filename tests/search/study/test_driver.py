"""The driver and the study in Optuna together; a worker is a function that writes a record."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from autoopt.objectives.judging.budget import Limit
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.backends.optuna_records import records
from autoopt.search.backends.optuna_storage import database_url
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.choosing import halving
from autoopt.search.paths import StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import Space, build_space
from autoopt.search.space.start_design import baseline, start_design
from autoopt.search.space.strategy_choice import choose
from autoopt.search.study.driver import MAX_DROPS, Driver
from autoopt.search.study.stopping import TIME_IS_UP, StoppingRule
from autoopt.search.trial.execution import Assignment, write_record
from autoopt.search.trial.record import State, TrialRecord
from autoopt.search.trial.rungs import RUNGS, TRUNK_RUNGS
from autoopt.search.trial.trial_clock import TrialClock
from autoopt.strategies.catalog import catalog, find
from autoopt.strategies.errors import UnknownName

FIRST, LATER = RUNGS
(OF_TRUNK,) = TRUNK_RUNGS
OBJECTIVES = {"quality": Direction.MAXIMIZE, "latency_p50": Direction.MINIMIZE}
LIMITS = (Limit.parse("latency_p50 <= 0.5 * baseline"), Limit.parse("quality >= 0.9 * baseline"))
MORE = ("masked_language_modeling", "random_edits")
SPACE: Space = build_space(
    {name: choose(strategy, {}) for name, strategy in catalog().items() if strategy.standard or name in MORE},
    frozenset({"bidirectional", "head", "one pass", "untied embeddings", "labels", "text", "unlabeled", "cpu"}),
)


def measured(quality: float, latency: float) -> dict[str, Measurement]:
    return {
        "quality": replace(Measurement.exact("quality", quality, "", Direction.MAXIMIZE), samples=500),
        "latency_p50": Measurement.exact("latency_p50", latency, "ms", Direction.MINIMIZE),
    }


@dataclass
class Bench:
    """A study in a folder, with what a worker would do."""

    folder: StudyFolder
    trials: int = 6
    limits: tuple[Limit, ...] = LIMITS
    seen: list[TrialRecord] = field(default_factory=list)
    ran: list[int] = field(default_factory=list)

    def study(self) -> OptunaStudy:
        return OptunaStudy.open(
            database_url(self.folder.path / "optuna.db"),
            "bench",
            SPACE,
            objectives=OBJECTIVES,
            limits=self.limits,
            sampler="tpe",
            seed=0,
        )

    def driver(
        self,
        stopping: StoppingRule | None = None,
        clock: TrialClock | None = None,
    ) -> Driver:
        driver = Driver(
            self.study(),
            self.folder,
            baseline=baseline(SPACE),
            objectives=OBJECTIVES,
            limits=self.limits,
            stopping=stopping or StoppingRule(self.trials),
            observe=self.seen.append,
            clock=clock,
        )
        driver.reconcile()
        driver.prepare(start_design(SPACE))
        return driver

    def finish(
        self,
        assignment: Assignment,
        quality: float = 0.9,
        latency: float = 4.0,
        reason: str = "",
        seconds: float = 0.0,
    ) -> None:
        """Do the work of a trial, as far as anybody else can see."""
        self.ran.append(assignment.number)
        state = State.FAILED if reason else State.COMPLETE
        values = {} if reason else measured(quality, latency)
        record = TrialRecord(
            assignment.number,
            assignment.recipe,
            state,
            values,
            reason=reason,
            seconds=seconds,
            attempt=assignment.attempt,
        )
        self.folder.trial(assignment.number).mkdir(parents=True, exist_ok=True)
        self.folder.model(assignment.number).mkdir()
        write_record(record, self.folder.result(assignment.number))

    def run(self, driver: Driver, work: Callable[[Assignment], None]) -> None:
        while assignment := driver.next():
            work(assignment)
            driver.record_result(assignment.number)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(StudyFolder(tmp_path))


def next_of(driver: Driver) -> Assignment:
    assignment = driver.next()
    assert assignment is not None
    return assignment


def test_the_baseline_is_trial_0_and_is_not_screened(bench: Bench) -> None:
    driver = bench.driver()
    first, frozen, second = next_of(driver), next_of(driver), next_of(driver)
    assert (first.number, first.screened, first.recipe.id) == (0, False, baseline(SPACE).id)
    assert (frozen.screened, second.screened) == (False, True)


def test_as_many_trials_run_as_were_asked_for_and_the_study_knows_them_all(bench: Bench) -> None:
    driver = bench.driver()
    bench.run(driver, bench.finish)
    assert len(bench.ran) == len(set(bench.ran)) == 6
    stored = records(database_url(bench.folder.path / "optuna.db"), "bench")
    assert [record.state for record in stored] == [State.COMPLETE] * 6
    assert stored == driver.records


def test_budgets_are_judged_against_the_baseline(bench: Bench) -> None:
    driver = bench.driver()
    bench.run(driver, lambda trial: bench.finish(trial, *((0.9, 10.0) if trial.number == 0 else (0.5, 2.5))))
    first, other = driver.records[0], driver.records[1]
    assert first.violations["latency_p50 <= 0.5 * baseline"] == pytest.approx(1.0)
    assert other.violations["latency_p50 <= 0.5 * baseline"] == pytest.approx(-0.5)
    assert other.violations["quality >= 0.9 * baseline"] == pytest.approx((0.81 - 0.5) / 0.81)
    assert not first.feasible
    assert not other.feasible


def test_a_result_before_the_baseline_is_booked_after_it(bench: Bench) -> None:
    driver = bench.driver()
    first, second = next_of(driver), next_of(driver)
    bench.finish(second, 0.9, 2.0)
    driver.record_result(second.number)
    assert driver.records[1].state is State.RUNNING
    bench.finish(first, 0.9, 10.0)
    driver.record_result(first.number)
    assert [record.state for record in driver.records] == [State.COMPLETE, State.COMPLETE]
    assert driver.records[1].feasible


def test_after_a_crash_finished_work_is_adopted_and_unfinished_work_runs_again(bench: Bench) -> None:
    bench.trials = len(start_design(SPACE)) + 2  # What is proposed again comes after the rest of the start design.
    crashed = bench.driver()
    first = next_of(crashed)
    bench.finish(first)
    crashed.record_result(first.number)
    told_nobody, cut_off = next_of(crashed), next_of(crashed)
    bench.finish(told_nobody)

    resumed = Driver(
        bench.study(),
        bench.folder,
        baseline=baseline(SPACE),
        objectives=OBJECTIVES,
        limits=LIMITS,
        stopping=StoppingRule(bench.trials),
        observe=bench.seen.append,
    )
    assert resumed.reconcile() == (1, 1)
    resumed.prepare(start_design(SPACE))
    bench.run(resumed, bench.finish)

    complete = [record for record in resumed.records if record.state is State.COMPLETE]
    assert len(complete) == len({record.recipe.id for record in complete}) == bench.trials
    assert bench.ran.count(told_nobody.number) == 1
    assert cut_off.recipe.id in {record.recipe.id for record in complete}
    assert cut_off.number not in bench.ran


def test_a_baseline_that_was_cut_off_is_begun_again(bench: Bench) -> None:
    next_of(bench.driver())
    resumed = bench.driver()
    bench.run(resumed, bench.finish)
    assert resumed.baseline is not None
    assert resumed.counted == 6


def test_a_finished_search_runs_nothing_more_and_a_longer_one_goes_on(bench: Bench) -> None:
    bench.run(bench.driver(), bench.finish)
    assert bench.driver().next() is None
    bench.trials = 8
    bench.run(bench.driver(), bench.finish)
    assert len(bench.ran) == 8


def test_a_trial_whose_worker_died_is_a_failure_that_counts(bench: Bench) -> None:
    driver = bench.driver()
    first = next_of(driver)
    bench.finish(first)
    driver.record_result(first.number)
    dead = next_of(driver)
    driver.record_result(dead.number)
    assert driver.records[dead.number].state is State.FAILED
    assert driver.records[dead.number].reason == "its worker died"
    assert driver.counted == 2


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_measurement_that_is_not_finite_never_reaches_the_front(bench: Bench, odd: float) -> None:
    driver = bench.driver()
    bench.run(driver, lambda trial: bench.finish(trial, odd if trial.number == 2 else 0.9))
    assert driver.records[2].state is State.FAILED
    assert driver.records[2].reason == "not a finite number: quality"


def test_a_search_whose_trials_all_fail_stops_early(bench: Bench) -> None:
    bench.trials = 50
    driver = bench.driver()
    bench.run(driver, lambda trial: bench.finish(trial, reason="" if trial.number == 0 else "Diverged: nan"))
    assert driver.stopped_because == "10 trials in a row failed, the last with Diverged: nan"
    assert driver.counted == 11


def test_a_search_whose_baseline_fails_stops_at_once(bench: Bench) -> None:
    driver = bench.driver()
    bench.run(driver, lambda trial: bench.finish(trial, reason="OutOfMemory: too large"))
    assert bench.ran == [0]
    assert driver.stopped_because == "the baseline failed with OutOfMemory: too large"


def test_no_trial_begins_after_the_deadline(bench: Bench) -> None:
    driver = bench.driver(StoppingRule(6, timeout_s=0.0, started_at=0.0))
    assert driver.next() is None
    assert driver.stopped_because == "the time is used up"


def test_after_the_timeout_what_runs_has_its_grace_the_baseline_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("autoopt.search.study.stopping.time", SimpleNamespace(monotonic=lambda: now[0]))
    driver = bench.driver(StoppingRule(6, timeout_s=100.0, grace_s=10.0))
    baseline = driver.next()
    assert baseline is not None
    now[0] = 500.0
    assert not driver.overdue()  # A slow start does not count.
    driver.started(baseline.number)
    now[0] = 609.0
    assert not driver.overdue()
    now[0] = 610.0
    assert driver.overdue()
    assert driver.stopped_because == "the time is used up"


def test_no_trial_begins_that_would_not_end_in_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("autoopt.search.study.stopping.time", SimpleNamespace(monotonic=lambda: now[0]))
    bench.trials = 50
    driver = bench.driver(StoppingRule(50, timeout_s=1000.0, started_at=0.0))
    bench.finish(next_of(driver), seconds=100.0)
    driver.record_result(0)
    second = next_of(driver)
    now[0] = 999.5
    assert driver.next() is None
    assert driver.stopped_because == "", "what runs may store a stage that makes others short"
    bench.finish(second, seconds=100.0)
    driver.record_result(second.number)
    assert driver.next() is None
    assert driver.stopped_because == "no further recipe can be tried in the time that is left"


def test_no_trial_begins_once_the_compute_is_used_up(bench: Bench) -> None:
    driver = bench.driver(StoppingRule(6, max_compute_s=100.0))
    bench.run(driver, lambda trial: bench.finish(trial, seconds=40.0))
    assert bench.ran == [0, 1, 2]
    assert driver.stopped_because == "the compute is used up"


def test_a_search_ends_where_its_last_trials_add_too_little(bench: Bench) -> None:
    driver = bench.driver(StoppingRule(30, stop_when_gain=0.1))
    values = {0: (0.9, 10.0), 1: (0.5, 1.0), 2: (0.7, 3.0), 3: (0.8, 4.0)}
    bench.run(driver, lambda trial: bench.finish(trial, *values.get(trial.number, (0.6, 5.0)), seconds=450.0))
    # Those after 3 add nothing, and eight of them are an hour of work.
    assert driver.counted == 12
    assert driver.stopped_because == "the last 8 trials added 0.00% to the front for each hour of work"


def test_a_trunk_that_another_trial_trains_waits_where_there_is_other_work(bench: Bench) -> None:
    bench.trials = 30
    driver = bench.driver()
    first = next_of(driver)
    others = [next_of(driver) for _ in range(3)]
    trunks = [assignment.recipe.trunk for assignment in (first, *others) if assignment.recipe.trunk]
    assert len(trunks) == len(set(map(str, trunks)))
    bench.finish(first)
    driver.record_result(first.number)
    assert first.recipe.trunk in [next_of(driver).recipe.trunk for _ in range(3)]
    # In the order of the start design otherwise.
    assert {assignment.recipe.id for assignment in others} <= {recipe.id for recipe in start_design(SPACE)}


def test_a_recovery_that_another_trial_trains_waits_where_there_is_other_work(bench: Bench) -> None:
    bench.trials = 30
    driver = with_a_baseline(bench)
    cut = [find("layer_drop")(), find("recovery_finetuning")()]
    one, alike = (Recipe.of([*cut, find(name)()]) for name in ("int8_dynamic", "half_precision"))
    other = Recipe.of([find("layer_drop").model_validate({"keep": 0.33}), *cut[1:]])
    driver.prepare([], best_known=[one, alike, other])
    first, second = next_of(driver), next_of(driver)
    assert [first.recipe.id, second.recipe.id] == [one.id, other.id]
    bench.finish(first)
    driver.record_result(first.number)
    assert next_of(driver).recipe.id == alike.id


def test_cuts_begin_with_the_best_trunk_and_go_on_with_it_after_a_restart(bench: Bench) -> None:
    bench.trials = 14

    def work(assignment: Assignment) -> None:
        frozen = assignment.recipe.trunk[:1] == (find("linear_probe")(),)
        bench.finish(assignment, 0.95 if frozen else 0.9, 4.0 if assignment.recipe.leaf else 10.0)

    bench.run(bench.driver(), work)
    bench.trials = 22
    bench.run(resumed := bench.driver(), work)
    cuts = [record.recipe for record in resumed.records if any(step.cuts for step in record.recipe.leaf)]
    of_the_best_two = [recipe for recipe in cuts if recipe.trunk in {baseline(SPACE).trunk, (find("linear_probe")(),)}]
    names = [recipe.trunk[0].name for recipe in of_the_best_two]
    assert names[:6] == ["linear_probe", "linear_probe", "full_finetuning"] * 2
    assert len({recipe.leaf for recipe in of_the_best_two}) == len(of_the_best_two)


def test_a_trunk_alone_is_trained_even_if_it_serves_too_slowly(bench: Bench) -> None:
    driver = bench.driver()
    assignments = [next_of(driver) for _ in range(3)]
    assert [assignment.screened for assignment in assignments] == [False, False, True]
    assert [bool(assignment.recipe.leaf) for assignment in assignments] == [False, False, True]


def test_a_trunk_far_behind_others_at_its_rung_is_stopped_but_never_the_baseline(bench: Bench) -> None:
    driver = bench.driver()
    first, one, other = next_of(driver), next_of(driver), next_of(driver)
    assert driver.should_continue(at_rung(one, OF_TRUNK, 0.8, 10.0))
    assert driver.should_continue(at_rung(first, OF_TRUNK, 0.1, 10.0))
    assert driver.should_continue(at_rung(other, OF_TRUNK, 0.75, 10.0))
    assert not driver.should_continue(at_rung(other, OF_TRUNK, 0.7, 10.0))
    of_another_model = replace(at_rung(other, OF_TRUNK, 0.7, 10.0), recipe=replace(other.recipe, model="small"))
    assert driver.should_continue(of_another_model)
    bench.finish(first, 0.9, 10.0)
    driver.record_result(first.number)
    driver.record_result(other.number)
    assert driver.records[other.number].reason == f"after {OF_TRUNK} its quality of 0.7 was far behind 0.8"


@pytest.fixture
def small_strata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halving, "MIN_TRIALS", 1)


def at_rung(assignment: Assignment, rung: str, quality: float, latency: float, **earlier: float) -> TrialRecord:
    return TrialRecord(
        assignment.number,
        assignment.recipe,
        State.RUNNING,
        measured(quality, latency),
        seconds=12.0,
        rungs={**earlier, rung: quality},
    )


def with_a_baseline(bench: Bench) -> Driver:
    """A driver with room for 20 trials that knows the baseline."""
    bench.trials = 20
    driver = bench.driver()
    bench.finish(next_of(driver), 0.9, 10.0)
    driver.record_result(0)
    return driver


def after_the_baseline(bench: Bench) -> tuple[Driver, Assignment, Assignment]:
    """A driver that knows the baseline, and two trials that run."""
    driver = bench.driver()
    first, one, other = next_of(driver), next_of(driver), next_of(driver)
    bench.finish(first, 0.9, 10.0)
    driver.record_result(first.number)
    return driver, one, other


@pytest.mark.usefixtures("small_strata")
def test_a_trial_that_promises_less_than_others_at_its_rung_is_stopped_and_never_complete(bench: Bench) -> None:
    driver, good, bad = after_the_baseline(bench)
    assert driver.should_continue(at_rung(good, FIRST, 0.8, 4.0))
    assert not driver.should_continue(at_rung(bad, FIRST, 0.6, 4.5))
    driver.record_result(bad.number)
    stopped = driver.records[2]
    assert stopped.state is State.STOPPED
    assert stopped.reason == f"{FIRST} its quality of 0.6 promised less than that of 1 others"
    assert (stopped.rungs, stopped.seconds) == ({FIRST: 0.6}, 12.0)
    assert stopped.violations["latency_p50 <= 0.5 * baseline"] == pytest.approx(-0.1)
    assert driver.counted == 2
    trial = bench.study()._study.trials[2]
    assert trial.state.name == "PRUNED"
    assert trial.user_attrs["outcome"]["rungs"] == {FIRST: 0.6}
    assert trial.user_attrs["outcome"]["quality"] == 0.6


@pytest.mark.usefixtures("small_strata")
def test_a_trial_is_judged_by_the_best_that_it_has_shown_so_far(bench: Bench) -> None:
    driver, good, other = after_the_baseline(bench)
    assert driver.should_continue(at_rung(good, LATER, 0.8, 4.0, **{FIRST: 0.5}))
    assert driver.should_continue(at_rung(other, LATER, 0.6, 4.5, **{FIRST: 0.82}))
    assert not driver.should_continue(at_rung(other, LATER, 0.6, 4.5, **{FIRST: 0.7}))


@pytest.mark.usefixtures("small_strata")
def test_a_difference_that_may_be_chance_stops_no_trial(bench: Bench) -> None:
    driver, good, other = after_the_baseline(bench)
    assert driver.should_continue(at_rung(good, FIRST, 0.8, 4.0))
    assert driver.should_continue(at_rung(other, FIRST, 0.795, 4.5))
    assert not driver.should_continue(at_rung(other, FIRST, 0.785, 4.5))


@pytest.mark.usefixtures("small_strata")
def test_trials_are_compared_at_the_same_rung_only_also_after_a_restart(bench: Bench) -> None:
    driver, good, other = after_the_baseline(bench)
    assert driver.should_continue(at_rung(good, FIRST, 0.8, 4.0))
    assert driver.should_continue(at_rung(other, LATER, 0.6, 4.5))
    assert not driver.should_continue(at_rung(other, FIRST, 0.5, 4.5))
    driver.record_result(other.number)

    resumed = bench.driver()
    again = next_of(resumed)
    assert not resumed.should_continue(at_rung(again, FIRST, 0.4, 5.0))
    assert resumed.should_continue(at_rung(again, FIRST, 0.6, 4.0))


@pytest.mark.usefixtures("small_strata")
def test_the_first_rung_stops_nobody_where_it_ranks_trials_unlike_the_next_one(bench: Bench) -> None:
    driver = with_a_baseline(bench)
    for early, late in ((0.1, 0.9), (0.2, 0.8), (0.3, 0.7), (0.4, 0.6), (0.5, 0.5)):
        assignment = next_of(driver)
        driver.should_continue(at_rung(assignment, LATER, late, 4.0, **{FIRST: early}))
    assert driver.should_continue(at_rung(next_of(driver), FIRST, 0.01, 4.0))
    assert not driver.should_continue(at_rung(next_of(driver), LATER, 0.01, 4.0, **{FIRST: 0.01}))


@pytest.mark.usefixtures("small_strata")
@pytest.mark.parametrize("alike", [True, False])
def test_the_last_rung_stops_nobody_where_trials_end_unlike_it(bench: Bench, *, alike: bool) -> None:
    driver = with_a_baseline(bench)
    for late, end in ((0.5, 0.5), (0.6, 0.6), (0.7, 0.7), (0.8, 0.8), (0.9, 0.9)):
        assignment = next_of(driver)
        seen = at_rung(assignment, LATER, late, 4.0)
        driver.should_continue(seen)
        values = measured(end if alike else 1.4 - end, 4.0)
        done = replace(seen, state=State.COMPLETE, measurements=values, attempt=assignment.attempt)
        bench.folder.trial(assignment.number).mkdir(parents=True)
        write_record(done, bench.folder.result(assignment.number))
        driver.record_result(assignment.number)
    assert driver.should_continue(at_rung(next_of(driver), LATER, 0.01, 4.5)) is not alike


@pytest.mark.usefixtures("small_strata")
def test_a_stopped_trial_is_booked_where_the_search_ends_before_anybody_is_told(bench: Bench) -> None:
    driver, good, bad = after_the_baseline(bench)
    driver.should_continue(at_rung(good, FIRST, 0.8, 4.0))
    driver.should_continue(at_rung(bad, FIRST, 0.6, 4.5))
    driver.give_up_running("the search was stopped")
    assert [record.state for record in driver.records] == [State.COMPLETE, State.STOPPED]


def test_models_that_are_beaten_are_deleted_and_the_rest_is_kept(bench: Bench) -> None:
    values = {0: (0.9, 10.0), 1: (0.95, 4.0), 2: (0.85, 5.0), 3: (0.85, 2.0), 4: (0.5, 9.0), 5: (0.99, 20.0)}
    driver = bench.driver()
    bench.run(driver, lambda trial: bench.finish(trial, *values[trial.number]))
    remaining = {number for number in values if bench.folder.model(number).exists()}
    assert remaining == {0, 1, 3, 5}


def test_a_model_that_is_beaten_is_looked_for_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for: list[Path] = []
    monkeypatch.setattr(shutil, "rmtree", lambda path, **_: looked_for.append(path))
    bench.trials = 12
    bench.run(bench.driver(), lambda trial: bench.finish(trial, 0.9 - 0.01 * trial.number, 4.0 + trial.number))
    assert len(looked_for) == len(set(looked_for)) == 11


def test_what_thousands_of_trials_have_in_common_is_in_memory_once(bench: Bench) -> None:
    bench.trials = len(start_design(SPACE)) + 8  # The last ones are the sampler's.
    driver = bench.driver()
    proposed: dict[int, Recipe] = {}

    def work(trial: Assignment) -> None:
        proposed[trial.number] = trial.recipe
        bench.finish(trial)

    bench.run(driver, work)
    assert all(record.recipe is proposed[record.number] for record in driver.records)
    names = [name for record in driver.records for name in record.measurements]
    assert len({id(name) for name in names}) == len(set(names)) == 2
    in_memory = driver._study._memory.get_trials(deepcopy=False)
    assert len(in_memory) >= bench.trials
    distributions = [made for trial in in_memory for made in trial.distributions.values()]
    assert len({id(made) for made in distributions}) == len(set(distributions))
    assert not any(trial.user_attrs for trial in in_memory)


def test_no_recipe_is_proposed_twice(bench: Bench) -> None:
    bench.trials = 30
    driver = bench.driver()
    bench.run(driver, bench.finish)
    identities = [record.recipe.id for record in driver.records]
    assert len(identities) == len(set(identities)) == 30


def test_a_result_file_is_whole_or_absent(bench: Bench) -> None:
    driver = bench.driver()
    first = next_of(driver)
    bench.finish(first)
    stored = json.loads(bench.folder.result(first.number).read_text())
    assert TrialRecord.from_json(stored).recipe == first.recipe
    assert not list(bench.folder.trial(first.number).glob("*.tmp"))


def test_who_reads_the_database_keeps_no_writer_waiting(bench: Bench) -> None:
    bench.driver()
    path = bench.folder.path / "optuna.db"
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader,
        contextlib.closing(sqlite3.connect(path, timeout=0)) as writer,
    ):
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM trials").fetchone()
        with writer:  # Raises where it would have to wait.
            writer.execute("DELETE FROM trials")
        assert reader.execute("SELECT count(*) FROM trials").fetchone() == seen != (0,)


def test_an_unknown_study_is_named_with_the_nearest_one(bench: Bench) -> None:
    bench.driver()
    with pytest.raises(UnknownName, match=r"no study 'bnech'; did you mean 'bench'\?"):
        records(database_url(bench.folder.path / "optuna.db"), "bnech")


def test_a_trial_that_the_runner_drops_is_proposed_again_but_not_for_ever(bench: Bench) -> None:
    driver = bench.driver()
    baseline = driver.next()
    assert baseline is not None
    driver.dropped(baseline.number, "Ray ended it before it began")
    assert driver.records == [] or driver.baseline is None
    again = driver.next()
    assert again is not None
    assert again.recipe == baseline.recipe
    bench.finish(again)
    driver.record_result(again.number)
    recipes = []
    for _ in range(MAX_DROPS):
        trial = driver.next()
        assert trial is not None
        recipes.append(trial.recipe)
        driver.dropped(trial.number, "its node died")
    assert recipes == recipes[:1] * MAX_DROPS
    assert [record.state for record in driver.records] == [State.COMPLETE, State.FAILED]
    assert driver.records[-1].reason == "its node died, 3 times"


def test_a_dropped_trial_that_has_a_result_is_recorded(bench: Bench) -> None:
    driver = bench.driver()
    baseline = driver.next()
    assert baseline is not None
    bench.finish(baseline)
    driver.dropped(baseline.number, "Ray ended it before it began")
    assert driver.baseline is not None
    assert bench.ran == [0]


def test_a_trial_beyond_its_time_expires_unless_it_has_a_result(bench: Bench) -> None:
    now = [0.0]
    driver = bench.driver(clock=TrialClock(10.0, now=lambda: now[0]))
    baseline = driver.next()
    assert baseline is not None
    driver.started(baseline.number)
    driver.reported(baseline.number)
    now[0] = 10.0
    assert driver.why_expired(baseline.number) == ""
    now[0] = 10.1
    assert driver.why_expired(baseline.number).startswith("timeout: it ran for 10 s")
    bench.finish(baseline)
    assert driver.why_expired(baseline.number) == ""


def test_the_result_of_another_study_in_the_folder_is_not_adopted(bench: Bench) -> None:
    driver = bench.driver()
    bench.run(driver, bench.finish)
    old = {number: bench.folder.result(number).read_bytes() for number in range(6)}
    for path in bench.folder.path.glob("optuna.db*"):
        path.unlink()
    driver = bench.driver()
    assignments = [next_of(driver) for _ in range(2)]
    assert [bench.folder.result(trial.number).read_bytes() for trial in assignments] == [old[0], old[1]]
    resumed = bench.driver()
    assert {record.state for record in resumed.records} <= {State.RUNNING}
    ran = len(bench.ran)
    shutil.rmtree(bench.folder.path / "trials")
    bench.run(resumed, bench.finish)
    assert len(bench.ran) - ran == 6


@pytest.mark.parametrize("content", [b"", b"\0" * 300, b'{"number": 1'])
def test_a_trial_with_a_damaged_result_was_cut_off_and_runs_again(bench: Bench, content: bytes) -> None:
    driver = bench.driver()
    first = next_of(driver)
    bench.finish(first)
    bench.folder.result(first.number).write_bytes(content)
    resumed = bench.driver()
    again = next_of(resumed)
    assert (again.recipe.id, again.number) == (first.recipe.id, first.number + 1)
    assert [record.number for record in resumed.records] == [again.number]


def leave(bench: Bench, assignment: Assignment, latency: float, *, noisy: bool) -> None:
    """Leave the result of a trial that is rejected if its latency is over 5 ms."""
    values = {name: replace(item, noisy=noisy) for name, item in measured(0.9, latency).items()}
    state = State.REJECTED if latency > 5.0 and assignment.screened else State.COMPLETE
    record = TrialRecord(assignment.number, assignment.recipe, state, values, attempt=assignment.attempt)
    bench.ran.append(assignment.number)
    write_record(record, bench.folder.result(assignment.number))


def test_what_was_rejected_on_a_disturbed_machine_is_measured_again_when_the_rest_is_done(bench: Bench) -> None:
    bench.limits = LIMITS[:1]
    driver = bench.driver()

    def work(trial: Assignment) -> None:
        disturbed = trial.number in (2, 4) and bench.ran.count(trial.number) == 0
        leave(bench, trial, 20.0 if disturbed else 10.0 if trial.number == 0 else 4.0, noisy=disturbed)

    bench.run(driver, work)
    assert bench.ran == [0, 1, 2, 3, 4, 5, 2, 4]
    stored = records(database_url(bench.folder.path / "optuna.db"), "bench")
    assert [record.number for record in stored] == list(range(6))
    assert {record.state for record in stored} == {State.COMPLETE}
    assert stored == driver.records
    assert all(record.feasible for record in stored[1:])


def test_a_machine_that_is_never_quiet_has_the_last_word_the_second_time(bench: Bench) -> None:
    bench.limits = LIMITS[:1]
    driver = bench.driver()
    bench.run(driver, lambda trial: leave(bench, trial, 20.0 if trial.number else 10.0, noisy=True))
    assert bench.ran == [0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    assert [record.state for record in driver.records] == [State.COMPLETE] + [State.REJECTED] * 5


def test_a_verdict_on_a_quiet_machine_is_final(bench: Bench) -> None:
    bench.limits = LIMITS[:1]
    driver = bench.driver()
    bench.run(driver, lambda trial: leave(bench, trial, 20.0 if trial.number else 10.0, noisy=False))
    assert bench.ran == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("is_crash", [True, False])
def test_a_trial_that_waits_for_its_second_look_runs_when_the_search_goes_on(bench: Bench, *, is_crash: bool) -> None:
    bench.limits = LIMITS[:1]
    driver = bench.driver()
    first, second = next_of(driver), next_of(driver)
    leave(bench, first, 10.0, noisy=False)
    driver.record_result(first.number)
    leave(bench, second, 20.0, noisy=True)
    driver.record_result(second.number)
    assert [record.state for record in driver.records] == [State.COMPLETE, State.RUNNING]
    if is_crash:
        resumed = bench.driver()
    else:
        driver.stopped_because = TIME_IS_UP
        assert driver.next() is None
        driver.give_up_running(TIME_IS_UP)
        assert [record.number for record in driver.records] == [0]
        resumed = bench.driver()
    again = next_of(resumed)
    assert (again.recipe.id, again.number) == (second.recipe.id, second.number + 1)


def test_the_same_stage_on_another_base_model_is_no_reason_to_wait(bench: Bench) -> None:
    bench.trials = 30
    driver = with_a_baseline(bench)
    cut = [find("layer_drop")(), find("recovery_finetuning")()]
    one, alike = (Recipe.of([*cut, find(name)()]) for name in ("int8_dynamic", "half_precision"))
    driver.prepare([], best_known=[one, alike, replace(one, model="cut")])
    assert [next_of(driver).recipe for _ in range(2)] == [one, replace(one, model="cut")]
