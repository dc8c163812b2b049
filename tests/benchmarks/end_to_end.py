"""How soon a whole search finds its front: autoopt, the same with one part switched off, and what one would do without.

    python tests/benchmarks/end_to_end.py --json FILE [--arms NAME ...] [--tasks NAME ...] [--seeds N ...] [--minutes M]
    python tests/benchmarks/end_to_end.py --json FILE --arms

Every run has the same time on the same machine, two workers, the whole space and ``latency_p50 <= 0.5 * baseline``. The
arms:

- ``B0``: Ray Tune with Optuna's TPE and nothing else; each trial begins with the base model and trains as
  transformers' Trainer does by default (batches as they come, AdamW not fused, float32).
- ``B1``: B0 with our training loop, our start design, warm workers and ASHA on quality.
- ``B1 to the end``: B1 without ASHA, which stops the deepest cuts, since they are not the better half by quality.
- ``autoopt``: as a user has it; ``no store``, ``no halving``, ``no surrogate``, ``no screening``: without that part.

Each run is kept in FILE with all its trials and when they ended; the table is made of all the runs in it: the share of
the pooled front's hypervolume that was reached in the end, the time until 90 and 95 % of it, and how long the workers
were idle. Only trials within the budget count; the corner is the baseline's quality less ten points and the budget.
A time that was not reached within the run is shown as more than the run. A second table has the hypervolume over time,
on validation and on test: the front is chosen on validation, after the run its models are scored on the test split,
and both are shares of what the pooled front, chosen on validation too, has on that split. The last lines compare B1
with autoopt run by run, by the geometric mean of the ratios of times with its bootstrap interval: until 95 % of the
pooled front, a lower bound where B1 did not get there, and until what B1 had found in the end.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from autoopt.objectives.task import Task
from autoopt.objectives.tasks import open_task
from autoopt.search.backends.ray_tune import runner as ray_runner
from autoopt.search.choosing.front import hypervolume
from autoopt.search.experiment.experiment import Experiment, load_experiment
from autoopt.search.experiment.opening import open_data, space_of
from autoopt.search.paths import Root, StudyFolder
from autoopt.search.study import lifecycle as studies
from autoopt.search.study.driver import Driver
from autoopt.search.study.lifecycle import Search
from autoopt.search.trial import run as trial
from autoopt.search.trial.record import State, TrialRecord
from autoopt.strategies.saving import load as load_candidate

DATA = Path(__file__).parents[3] / "shared" / "data"
WORKERS = 2
LATENCY, POINTS = 0.5, 0.1
"""The corner: the budget, and how far quality may be below the baseline's."""
ROW = "{:<10} {:<14} {:>5} {:>9} {:>14} {:>14} {:>7} {:>7}"
SHARES = "{:<10} {:<14} {:<10} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6}"
MOMENTS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Of a run's time."""
BASELINES = ("B0", "B1", "B1 to the end")
ARMS = (*BASELINES, "autoopt", "no store", "no halving", "no surrogate", "no screening")
SETTINGS = {
    "B0": ["search.sampler=tpe", "search.scheduler=none"],
    "B1": ["search.sampler=tpe"],
    "B1 to the end": ["search.sampler=tpe", "search.scheduler=none"],
    "no halving": ["search.scheduler=none"],
    "no surrogate": ["search.sampler=tpe"],
}
TASKS: dict[str, list[str]] = {
    "bbc-news": [],
    "sst2": [
        "data={" + ", ".join(f"{name}: {DATA}/sst2/{name}.tsv" for name in ("train", "validation", "test")) + "}",
        "data.split={train: 1000, validation: 500}",
        "data.max_length=64",
    ],
}


class Loss(NamedTuple):
    """A model as what is lost with it against the baseline."""

    quality: float
    latency: float
    """As a share of the baseline's."""
    test: float = math.inf
    """Quality on the test split."""


@dataclass(frozen=True)
class Point:
    """A trial that ended."""

    at_s: float
    quality: float
    test: float | None
    """Its quality on the test split; None where it was on no front when it ended."""
    latency: float
    """As a share of the baseline's."""
    recipe: str


@dataclass(frozen=True)
class Run:
    """All that is kept of one search."""

    task: str
    arm: str
    seed: int
    minutes: float
    points: tuple[Point, ...]
    """Complete trials within the budget."""
    baseline: float
    """Its quality."""
    baseline_test: float
    """Its quality on the test split."""
    idle: float
    """The share of the workers' time until the deadline that no trial had."""
    trials: int
    failures: tuple[str, ...]
    """Of each trial that failed its recipe and why."""
    spent: dict[str, float]
    """Seconds of both workers by stage; what is left of their time is starting, writing and waiting."""

    def losses(self, seconds: float = math.inf) -> list[Loss]:
        """What was found until then."""
        return [
            Loss(
                self.baseline - point.quality,
                point.latency,
                math.inf if point.test is None else self.baseline_test - point.test,
            )
            for point in self.points
            if point.at_s <= seconds
        ]

    def reached(self, seconds: float = math.inf) -> float:
        """The hypervolume after so many seconds."""
        return volume(self.losses(seconds))

    def time_until(self, volume: float) -> float:
        """Infinite where the run did not get there."""
        times = sorted(point.at_s for point in self.points)
        return next((moment for moment in times if self.reached(moment) >= volume), math.inf)


class Done(Exception):
    """The trials have run; their front is not verified here."""


class Watching:
    """Takes down when trials ended."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.started: dict[int, float] = {}
        self.ended: dict[int, tuple[float, TrialRecord]] = {}

    def observe(self, record: TrialRecord) -> None:
        now = time.monotonic() - self.begun
        if record.state is State.RUNNING:
            self.started[record.number] = now
        else:
            self.ended[record.number] = (now, record)

    def busy(self, until: float) -> float:
        """Seconds of both workers that trials had until then, those included that were given up at the end."""
        work = {number: (start, until) for number, start in self.started.items()}
        work |= {number: (moment - record.seconds, moment) for number, (moment, record) in self.ended.items()}
        return sum(max(0.0, min(end, until) - start) for start, end in work.values())

    def fronts(self) -> list[int]:
        """The trials that were on the front when they ended."""
        found: list[Loss] = []
        numbers = []
        for number, (_, record) in self.ended.items():
            if record.feasible:
                quality, latency = (record.measurements[name].value for name in ("quality", "latency_ratio"))
                found.append(Loss(-quality, latency))
                if found[-1] in front(found):
                    numbers.append(number)
        return numbers

    def say(self, message: str) -> None: ...
    def stage(self, number: int, stage: str) -> None: ...
    def tick(self) -> None: ...
    def verified(self, model: object) -> None: ...
    def record(self, record: TrialRecord) -> None: ...
    def sync(self, records: Sequence[TrialRecord]) -> int:
        return len(records)


def without_store(config: dict[str, Any], *, plain: bool) -> None:
    """The trainable of a worker that keeps no stage; ``plain`` is with the training of transformers' Trainer."""
    import torch

    from autoopt.search.trial.stage_store import StageStore
    from autoopt.strategies.training import batches, precision

    StageStore.__contains__ = lambda self, address: False  # type: ignore[method-assign]
    StageStore.get_or_compute = lambda self, address, into, compute: (compute(), False)  # type: ignore[method-assign]
    if plain and batches.POOL > 1:
        batches.POOL = 1
        precision.training_precision = lambda _: torch.float32  # type: ignore[assignment]
        made = torch.optim.AdamW
        torch.optim.AdamW = lambda *args, **more: made(*args, **{**more, "fused": False})  # type: ignore[misc,assignment]
    ray_runner._trial(config)


def without_screening(config: dict[str, Any]) -> None:
    trial.excess = lambda *_: ""
    ray_runner._trial(config)


def asha(driver: Driver, record: TrialRecord) -> bool:
    """Asynchronous successive halving by quality alone: the better half at a rung goes on."""
    *_, rung = record.rungs
    driver.rungs.update(record)
    seen = [other.rungs[rung] for other in driver.rungs.at_rung(rung)]
    if sum(value > record.rungs[rung] for value in seen) < math.ceil(len(seen) / 2):
        return True
    stop(driver, record)
    return False


def stop(driver: Driver, record: TrialRecord) -> None:
    """Have this trial booked as stopped."""
    driver.stop(record, "")


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def changed(arm: str) -> list[tuple[Any, str, Any]]:
    """What is put in the place of what, for this arm."""
    original = ray_runner._trial

    def storeless(config: dict[str, Any]) -> None:
        ray_runner._trial = original
        trial.excess = (lambda *_: "") if arm in BASELINES else trial.excess
        without_store(config, plain=arm == "B0")

    def unscreened(config: dict[str, Any]) -> None:
        ray_runner._trial = original
        without_screening(config)

    match arm:
        case "B0":
            return [(ray_runner, "_trial", storeless), (studies, "start_design", lambda _: [])]
        case "B1":
            return [(ray_runner, "_trial", storeless), (Driver, "should_continue", asha)]
        case "B1 to the end" | "no store":
            return [(ray_runner, "_trial", storeless)]
        case "no screening":
            return [(ray_runner, "_trial", unscreened)]
    return []


def searched(task: str, arm: str, seed: int, minutes: float) -> Run:
    settings = [
        *TASKS[task],
        f"study={task}",
        f"search.seed={seed}",
        f"search.timeout={minutes}m",
        "search.trials=1000",
        f"budget=[latency_p50 <= {LATENCY} * baseline]",
        f"resources.workers={WORKERS}",
        *SETTINGS.get(arm, []),
    ]
    experiment: Experiment = load_experiment("bbc-news", settings)
    watching = Watching()

    data = open_data(experiment)
    test: dict[int, float] = {}

    def run(driver: Driver, folder: StudyFolder) -> None:
        watching.begun = time.monotonic()
        ray_runner.run(driver, folder, resources=experiment.resources, watcher=watching)
        for number in (0, *watching.fronts()):
            candidate = load_candidate(folder.model(number), open_task=open_task)
            test[number] = cast("Task", candidate.task).score(candidate, data.test)["quality"].value
        raise Done

    kept = (Driver, "_discard_beaten", lambda _: None)  # A model that is beaten later is scored on the test split, too.
    with tempfile.TemporaryDirectory() as home, _all([*changed(arm), kept]):
        space = space_of(experiment, data)
        with suppress(Done):
            Search(experiment, Root(Path(home)), space, run, lambda *_: {}, watching, watching).complete()
    records = [record for _, record in watching.ended.values()]
    baseline = next(record for record in records if record.number == 0)
    points = tuple(
        Point(
            moment,
            record.measurements["quality"].value,
            test.get(record.number),
            record.measurements["latency_ratio"].value,
            str(record.recipe),
        )
        for moment, record in watching.ended.values()
        if record.feasible
    )
    idle = 1 - watching.busy(60 * minutes) / (WORKERS * 60 * minutes)
    failures = tuple(f"{record.recipe}: {record.reason}" for record in records if record.state is State.FAILED)
    quality = baseline.measurements["quality"].value
    return Run(task, arm, seed, minutes, points, quality, test[0], idle, len(records), failures, spent(records))


def spent(records: Sequence[TrialRecord]) -> dict[str, float]:
    total: dict[str, float] = defaultdict(float)
    for record in records:
        for stage in record.stages:
            total["restoring" if stage.reused else stage.name] += stage.seconds
    return dict(sorted(total.items(), key=lambda item: -item[1]))


@contextmanager
def _all(changes: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    if not changes:
        yield
        return
    with replaced(*changes[0]), _all(changes[1:]):
        yield


def load(file: Path) -> list[Run]:
    if not file.exists():
        return []
    kept = json.loads(file.read_text(encoding="utf-8"))
    return [
        Run(**{**run, "points": tuple(Point(**p) for p in run["points"]), "failures": tuple(run["failures"])})
        for run in kept
    ]


def keep(run: Run, file: Path) -> list[Run]:
    """Put the run in the place of an older one of the same task, arm and seed."""
    name = (run.task, run.arm, run.seed)
    runs = [*(other for other in load(file) if (other.task, other.arm, other.seed) != name), run]
    file.write_text(json.dumps([asdict(each) for each in runs], indent=1) + "\n", encoding="utf-8")
    return runs


def table(runs: Sequence[Run]) -> None:
    print(ROW.format("task", "arm", "runs", "reached", "min to 90 %", "min to 95 %", "idle", "trials"))
    pooled = {task: pool([run for run in runs if run.task == task]) for task in dict.fromkeys(run.task for run in runs)}
    for task in pooled:
        for arm in ARMS:
            mine = [run for run in runs if (run.task, run.arm) == (task, arm)]
            if not mine:
                continue
            shares = [run.reached() / volume(pooled[task]) for run in mine]
            times = [[run.time_until(part * volume(pooled[task])) / 60 for run in mine] for part in (0.9, 0.95)]
            print(
                ROW.format(
                    task,
                    arm,
                    len(mine),
                    f"{statistics.mean(shares):.0%}",
                    *(", ".join(_minutes(t, run) for t, run in zip(each, mine, strict=True)) for each in times),
                    f"{statistics.mean(run.idle for run in mine):.0%}",
                    f"{statistics.mean(run.trials for run in mine):.0f}",
                )
            )
    over_time(runs, pooled)
    for arm in dict.fromkeys(run.arm for run in runs):
        print(f"{arm}, seconds of both workers in a run: {_most_spent([run for run in runs if run.arm == arm])}")
    compare(runs, pooled)


def _most_spent(runs: Sequence[Run]) -> str:
    total: dict[str, float] = defaultdict(float)
    for run in runs:
        for stage, seconds in run.spent.items():
            total[stage] += seconds / len(runs)
    most = sorted(total.items(), key=lambda item: -item[1])[:8]
    return ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in most)


def over_time(runs: Sequence[Run], pooled: dict[str, list[Loss]]) -> None:
    """The share that each arm has at moments, in the mean over its runs."""
    print(SHARES.format("task", "arm", "split", *(f"{part:.0%}" for part in MOMENTS)) + "  of the time")
    for task, everything in pooled.items():
        for arm in ARMS:
            mine = [run for run in runs if (run.task, run.arm) == (task, arm)]
            for split, measure in (("validation", volume), ("test", test_volume)) if mine else ():
                shares = [
                    statistics.mean(measure(run.losses(60 * run.minutes * part)) for run in mine) / measure(everything)
                    for part in MOMENTS
                ]
                print(SHARES.format(task, arm, split, *(f"{share:.0%}" for share in shares)))


def pool(runs: Sequence[Run]) -> list[Loss]:
    """Everything that any run of a task has found."""
    return [loss for run in runs for loss in run.losses()]


def front(found: Sequence[Loss]) -> list[Loss]:
    """Those that no other one beats on validation."""
    ordered = sorted(set(found))
    return [
        loss for place, loss in enumerate(ordered) if all(loss.latency < other.latency for other in ordered[:place])
    ]


def volume(found: Sequence[Loss]) -> float:
    return hypervolume([(loss.quality, loss.latency) for loss in found], (POINTS, LATENCY))


def test_volume(found: Sequence[Loss]) -> float:
    """That of the front, chosen on validation, with its quality on the test split."""
    return hypervolume([(loss.test, loss.latency) for loss in front(found)], (POINTS, LATENCY))


def _minutes(value: float, run: Run) -> str:
    return f"{value:.1f}" if math.isfinite(value) else f">{run.minutes:g}"


def compare(runs: Sequence[Run], pooled: dict[str, list[Loss]]) -> None:
    """B1 against autoopt, run by run of the same task and seed."""
    found = {(run.task, run.seed): run for run in runs if run.arm == "B1"}
    pairs = [(run, found[key]) for run in runs if run.arm == "autoopt" and (key := (run.task, run.seed)) in found]
    if not pairs:
        return
    of_all = [_times(ours, other, 0.95 * volume(pooled[ours.task])) for ours, other in pairs]
    of_theirs = [_times(ours, other, other.reached()) for ours, other in pairs]
    bounds = sum(math.isinf(other.time_until(0.95 * volume(pooled[ours.task]))) for ours, other in pairs)
    print(
        f"to 95 %: B1 takes {_mean(of_all)} times as long as autoopt, {len(pairs)} pairs; "
        f"in {bounds} of them B1 did not get there within the run"
    )
    print(f"to what B1 has in the end: {_mean(of_theirs)} times as long")


def _times(ours: Run, other: Run, wanted: float) -> float:
    """How many times as long the other takes; whoever does not get there is taken to do so at its end."""
    mine, theirs = (min(run.time_until(wanted), 60 * run.minutes) for run in (ours, other))
    return theirs / mine


def _mean(ratios: Sequence[float]) -> str:
    """The geometric mean with its bootstrap interval."""
    chance, logs = random.Random(0), [math.log(ratio) for ratio in ratios]
    drawn = sorted(statistics.mean(chance.choices(logs, k=len(logs))) for _ in range(2000))
    mean, low, high = (math.exp(value) for value in (statistics.mean(logs), drawn[50], drawn[1949]))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where runs are kept")
    parser.add_argument("--arms", nargs="*", default=["B1", "autoopt"], choices=ARMS, metavar="NAME")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS), metavar="NAME")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=12.0)
    chosen = parser.parse_args()
    for seed in chosen.seeds:
        for task in chosen.tasks:
            for arm in chosen.arms:
                run = searched(task, arm, seed, chosen.minutes)
                keep(run, chosen.json)
                print(
                    f"{task}, {arm}, seed {seed}: {run.trials} trials, {len(run.failures)} of them failed", flush=True
                )
    table(load(chosen.json))


if __name__ == "__main__":
    main()
