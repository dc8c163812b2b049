"""Whole searches in seconds: the real driver, study, sampler and halving over recorded runs, with a virtual clock.

    python -m tests.benchmarks.simulator [--arms NAME ...] [--seeds N] [--workers N] [--minutes M]

Trials are looked up in ``recorded_runs.json`` in the place of being run; stages are stored, restored and waited for
as by real workers, by their real addresses, and a virtual clock goes on from one event to the next. For each seed all
stages take up to a fifth more or less than they did. The table: how long it takes, in virtual minutes, until a share of
the exact front's hypervolume is reached (median over the seeds, and the 95 % bootstrap interval of the median), how
idle the workers were, and how many real seconds a simulated search took. A search ends when it has tried everything or
when its virtual time is up.

``auto`` is what a user has; ``tpe``, ``nsga2``, ``random`` are Optuna's samplers; ``no design`` begins without the
start design; ``no race`` compares no trunks before it cuts them; ``no halving`` and ``no store`` are without that
part. ``B1`` is that of ``end_to_end``: TPE, ASHA by
quality and no store, with the same start design and the same workers. ``MOASHA`` is Syne Tune's (Schmucker et al.
2021): random recipes, halved by quality and latency, and no store; it needs ``pip install syne-tune``.
"""

from __future__ import annotations

import argparse
import heapq
import importlib
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest import mock

from autoopt.search.backends.optuna_storage import database_url
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.choosing import race
from autoopt.search.choosing.front import hypervolume
from autoopt.search.experiment.opening import directions, open_data, space_of
from autoopt.search.paths import StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import Space
from autoopt.search.space.start_design import baseline, start_design
from autoopt.search.study import stopping
from autoopt.search.study.driver import Driver
from autoopt.search.trial.execution import Assignment, write_record
from autoopt.search.trial.record import StageRecord, State, TrialRecord
from autoopt.search.trial.run import excess
from autoopt.search.trial.rungs import RUNGS
from autoopt.search.trial.stage_store import addresses
from autoopt.search.trial.workspace import Workspace
from tests.benchmarks.end_to_end import asha, stop
from tests.benchmarks.recorded_runs import FILE, Recorded, experiment

BUDGET = "[latency_p50 <= 0.5 * baseline, quality >= 0.9 * baseline]"
SHARES = (0.9, 0.95, 0.99)
LOOK_S = 3.0
"""Scoring at a rung."""
START_S = 8.0
"""Until the first workers are warm."""
JITTER = 0.2
SAMPLERS = ("auto", "tpe", "nsga2", "random")
ARMS = (*SAMPLERS, "no design", "no race", "no halving", "no store", "B1")
SYNE_TUNE = "MOASHA"
MEMORY = next((folder for folder in ("/dev/shm",) if Path(folder).is_dir()), None)  # noqa: S108
"""Where databases are kept: a disk would take longer than all the rest."""
ROW = "{:<12} {:>18} {:>18} {:>18} {:>6} {:>7} {:>8} {:>9}"


@dataclass
class Clock:
    """In the place of the module ``time``."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Search:
    """One simulated search. Workers are generators that yield how long they are busy."""

    table: Recorded
    driver: Driver
    folder: StudyFolder
    clock: Clock
    chance: random.Random
    store: bool
    halving: bool
    ready: dict[str, float] = field(default_factory=dict)
    """By address of a stage when it was or will be stored."""
    busy_s: float = 0.0
    ended: list[tuple[float, TrialRecord]] = field(default_factory=list)

    def run(self, workers: int) -> None:
        waiting = [(START_S, number, self._worker()) for number in range(workers)]
        heapq.heapify(waiting)
        while waiting and not self.driver.overdue():
            self.clock.now, number, worker = heapq.heappop(waiting)
            seconds = next(worker, None)
            if seconds is not None:
                heapq.heappush(waiting, (self.clock.now + seconds, number, worker))

    def _worker(self) -> Iterator[float]:
        while assignment := self.driver.next():
            begun = self.clock.now
            yield from self._trial(assignment)
            self.busy_s += self.clock.now - begun
            self.driver.record_result(assignment.number)

    def _trial(self, assignment: Assignment) -> Iterator[float]:
        """Ends when there is a result to be booked."""
        begun, recipe = self.clock.now, assignment.recipe
        measured = self.table.measured(recipe)
        beside = {name: self._about(seconds) for name, seconds in self.table.beside[recipe.id].items()}
        stages = [StageRecord("screening", beside["screening"], reused=False)]
        yield beside["screening"]
        costs = {name: found for name, found in measured.items() if name != "quality"}
        workspace = self._workspace()
        reason = excess(costs, workspace.experiment.budget, workspace.reference)
        if assignment.screened and reason:
            self._leave(assignment, TrialRecord(assignment.number, recipe, State.REJECTED, costs, reason=reason))
            return
        where = addresses(recipe.steps, "recorded", effort=1.0, seed=0)
        done = self._stored(recipe, where)
        if done:
            restoring = self.table.restoring.get(recipe.id, 1.0)
            yield restoring
            stages += [StageRecord(step.name, restoring / done, reused=True) for step in recipe.steps[:done]]
        rungs: dict[str, float] = {}

        def so_far(state: State) -> TrialRecord:
            known = TrialRecord(assignment.number, recipe, state, measured, rungs=dict(rungs))
            return replace(known, stages=tuple(stages), seconds=self.clock.now - begun)

        for place, step in list(enumerate(recipe.steps))[done:]:
            prefix = Recipe(recipe.steps[: place + 1]).id
            before = self.clock.now
            kept = step.is_stored() and self.store
            while kept and self.ready.get(where[place], 0.0) > self.clock.now:
                yield self.ready[where[place]] - self.clock.now
            if kept and where[place] in self.ready:
                stages.append(StageRecord(step.name, self.clock.now - before, reused=True))
                continue
            seconds = self._about(self.table.stages[prefix])
            looks = self.table.rungs.get(prefix, {}) if step.recovers and self.halving else {}
            if kept:
                self.ready[where[place]] = self.clock.now + seconds + LOOK_S * len(looks)
            passed = 0.0
            for name, quality in looks.items():
                yield LOOK_S + (RUNGS[name] - passed) * seconds
                passed, rungs[name] = RUNGS[name], quality
                if not self.driver.should_continue(so_far(State.RUNNING)):
                    self.ready.pop(where[place], None)
                    return
            yield (1 - passed) * seconds
            stages.append(StageRecord(step.name, self.clock.now - before, reused=False))
        after = sum(seconds for name, seconds in beside.items() if name != "screening")
        yield after
        stages.append(StageRecord("scoring", after, reused=False))
        self._leave(assignment, so_far(State.COMPLETE))

    def _stored(self, recipe: Recipe, where: list[str]) -> int:
        """How many steps of it the longest stored prefix has."""
        for place in reversed(range(len(where))):
            if self.ready.get(where[place], math.inf) <= self.clock.now:
                return place + 1
        return 0

    def _about(self, seconds: float) -> float:
        return seconds * self.chance.uniform(1 - JITTER, 1 + JITTER)

    def _workspace(self) -> Workspace:
        """As much of it as screening looks at."""
        reference = self.table.measured(self.driver._baseline)
        seen = SimpleNamespace(experiment=SimpleNamespace(budget=self.driver._limits), reference=reference)
        return cast("Workspace", seen)

    def _leave(self, assignment: Assignment, record: TrialRecord) -> None:
        self.ended.append((self.clock.now, record))
        result = self.folder.result(assignment.number)
        result.parent.mkdir(parents=True, exist_ok=True)
        write_record(replace(record, attempt=assignment.attempt), result)


@dataclass(frozen=True)
class Found:
    """What a simulated search came to."""

    minutes: tuple[float, ...]
    """Until each of the shares; infinite where it was not reached."""
    idle: float
    trials: int
    stopped: int
    real_s: float


def moasha() -> Callable[[Driver, TrialRecord], bool]:
    """What judges at a rung by Syne Tune's scheduler."""
    module = importlib.import_module("syne_tune.optimizer.schedulers.multiobjective.moasha")
    metrics = ["loss", "latency_ratio"]
    scheduler = module.MOASHA({}, metrics, time_attr="rung", max_t=len(RUNGS) + 1, reduction_factor=2)

    def judge(driver: Driver, record: TrialRecord) -> bool:
        asked = SimpleNamespace(trial_id=record.number)
        if len(record.rungs) == 1:
            scheduler.on_trial_add(asked)
        (*_, quality), latency = record.rungs.values(), record.measurements["latency_ratio"].value
        seen = {"rung": len(record.rungs), "loss": -quality, "latency_ratio": latency}
        if scheduler.on_trial_result(asked, seen) == "CONTINUE":
            return True
        stop(driver, record)
        return False

    return judge


def simulated(table: Recorded, space: Space, arm: str, seed: int, *, workers: int, minutes: float) -> Found:
    sampler = {"B1": "tpe", SYNE_TUNE: "random"}.get(arm, arm if arm in SAMPLERS else "auto")
    judge = asha if arm == "B1" else moasha() if arm == SYNE_TUNE else Driver.should_continue
    given = experiment(f"search.sampler={sampler}", f"search.seed={seed}", f"budget={BUDGET}")
    objectives, clock, began = directions(given), Clock(), time.perf_counter()
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as home,
        mock.patch.object(stopping, "time", clock),
        mock.patch.object(Driver, "should_continue", judge),
        mock.patch.object(race, "is_whole", race.is_whole if arm != "no race" else lambda _: False),
    ):
        folder = StudyFolder(Path(home))
        url = database_url(folder.path / "optuna.db")
        study = OptunaStudy.open(
            url, "simulated", space, objectives=objectives, limits=given.budget, sampler=sampler, seed=seed
        )
        driver = Driver(
            study,
            folder,
            baseline=baseline(space),
            objectives=objectives,
            limits=given.budget,
            stopping=stopping.StoppingRule(len(table.measurements), timeout_s=60 * minutes, started_at=0.0),
            observe=lambda _: None,
        )
        driver.prepare(design_of(arm, space))
        search = Search(
            table,
            driver,
            folder,
            clock,
            random.Random(seed),
            store=arm not in ("no store", "B1", SYNE_TUNE),
            halving=arm != "no halving",
        )
        search.run(workers)
    states = [record.state for record in driver.records]
    return Found(
        tuple(times_until(search.ended, table, baseline(space))),
        1 - search.busy_s / (workers * clock.now),
        len(states),
        states.count(State.STOPPED),
        time.perf_counter() - began,
    )


def design_of(arm: str, space: Space) -> list[Recipe]:
    if arm in ("no design", SYNE_TUNE):
        return []
    design = start_design(space)
    return [recipe for recipe in design if recipe.leaf] if arm == "no race" else design


def times_until(ended: Sequence[tuple[float, TrialRecord]], table: Recorded, base: Recipe) -> Iterator[float]:
    """In minutes, for each share of what all recipes of the table together would give."""
    least = 0.9 * table.measurements[base.id]["quality"][0]
    corner = (-least, 0.5)

    def point(of: str) -> tuple[float, float]:
        known = table.measurements[of]
        return -known["quality"][0], known["latency_ratio"][0]

    whole = hypervolume([point(recipe) for recipe in table.measurements], corner)
    complete = [(moment, point(record.recipe.id)) for moment, record in ended if record.state is State.COMPLETE]
    reached = [hypervolume([other for _, other in complete[:count]], corner) for count in range(1, len(complete) + 1)]
    for share in SHARES:
        moments = (moment for (moment, _), volume in zip(complete, reached, strict=True) if volume >= share * whole)
        yield next(moments, math.inf) / 60


def described(minutes: Sequence[float], limit: float) -> str:
    """The median and its interval, in minutes; beyond the limit is not reached."""
    chance = random.Random(0)
    capped = [min(each, 2 * limit) for each in minutes]
    drawn = sorted(statistics.median(chance.choices(capped, k=len(capped))) for _ in range(1000))

    def text(value: float) -> str:
        return f"{value:.1f}" if value <= limit else f">{limit:g}"

    return f"{text(statistics.median(capped))} [{text(drawn[25])}, {text(drawn[974])}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=FILE, metavar="FILE")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=[*ARMS, SYNE_TUNE], metavar="NAME")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=30.0)
    chosen = parser.parse_args()
    table = Recorded.read(chosen.table)
    given = experiment()
    space = space_of(given, open_data(given))
    print(ROW.format("arm", *(f"min to {share:.0%}" for share in SHARES), "idle", "trials", "stopped", "real s"))
    for arm in chosen.arms:
        found = [
            simulated(table, space, arm, seed, workers=chosen.workers, minutes=chosen.minutes)
            for seed in range(chosen.seeds)
        ]
        times = zip(*(each.minutes for each in found), strict=True)
        print(
            ROW.format(
                arm,
                *(described(each, chosen.minutes) for each in times),
                f"{statistics.mean(each.idle for each in found):.0%}",
                f"{statistics.mean(each.trials for each in found):.0f}",
                f"{statistics.mean(each.stopped for each in found):.0f}",
                f"{statistics.mean(each.real_s for each in found):.1f}",
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
