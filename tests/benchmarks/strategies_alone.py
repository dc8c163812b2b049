"""What each strategy gives when it is used alone: quality and latency against the baseline, on BBC News with MiniLM.

    python tests/benchmarks/strategies_alone.py [--only NAME ...] [--experiment FILE] [--set KEY=VALUE ...]
        [--root FOLDER] [--json FILE]

"Alone" is the least recipe in which a strategy does something: what trains before the task is learned is followed by
full fine-tuning; a cut follows it, once as it is and once with recovery training; recovery training follows a cut by
half of the layers. Latency is measured in turn with the baseline, and trainings pause meanwhile. Quality is on the test
split, from which nothing is chosen here; points are to the baseline, with the interval of the paired difference. Two
recipes run at a time, and a row is printed as soon as it and those before it are known; what has no place in the
experiment, such as strategies for named entities, is named at the end. About an hour on 2 cores for all.

``--json`` puts the rows into a file, beside those of other strategies and experiments that are in it already:
strategies/CATALOG.md is made from tests/benchmarks/strategies_alone.json by tests/benchmarks/catalog_page.py.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from autoopt.objectives.scoring.bootstrap import paired_difference
from autoopt.objectives.tasks import open_task
from autoopt.search.experiment.experiment import load_experiment
from autoopt.search.experiment.opening import facts, open_data
from autoopt.search.paths import Root
from autoopt.search.space.recipe import Recipe
from autoopt.search.space.space import RECIPE_NEEDS
from autoopt.search.trial.run import run_trial
from autoopt.search.trial.workspace import Workspace
from autoopt.strategies import saving
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.catalog import catalog
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.compression.recovery_finetuning import RecoveryFinetuning
from autoopt.strategies.model_needs import MODEL_NEEDS
from autoopt.strategies.strategy import Strategy

ROW = "{:<26} {:<20} {:>8} {:>7} {:>14} {:>8} {:>14} {:>8} {:>8}"
WORKERS = 2


@dataclass(frozen=True)
class Row:
    """What one recipe gave. Quality in percent, latency and size as shares of the baseline's."""

    experiment: str
    strategy: str
    beside: str
    """What it was combined with."""
    quality: float
    points: float
    points_low: float
    points_high: float
    latency: float
    latency_low: float
    latency_high: float
    noisy: bool
    size_mb: float
    seconds: float

    def __str__(self) -> str:
        return ROW.format(
            self.strategy,
            self.beside,
            f"{self.quality:.1f}",
            f"{self.points:+.1f}",
            f"[{self.points_low:+.1f}, {self.points_high:+.1f}]",
            f"{self.latency:.2f}{'*' if self.noisy else ''}",
            f"[{self.latency_low:.2f}, {self.latency_high:.2f}]",
            f"{self.size_mb:.1f}",
            f"{self.seconds:.0f}",
        )


@dataclass(frozen=True)
class Job:
    """A recipe to run, in any process."""

    number: int
    strategy: str
    beside: str
    recipe: list[dict[str, Any]]
    experiment: str
    settings: tuple[str, ...]
    root: Path


def recipes_of(strategy: type[Strategy]) -> Iterator[tuple[str, Recipe]]:
    """The least recipes in which the strategy does something, each with what it was combined with."""
    if strategy.recovers:
        before = [FullFinetuning(), LayerDrop()] if "teacher" in strategy.needs else [LayerDrop()]
        yield "after layer_drop", Recipe.of([*before, strategy()])
    elif strategy.cuts:
        yield "without recovery", Recipe.of([FullFinetuning(), strategy()])
        yield "recovery_finetuning", Recipe.of([FullFinetuning(), strategy(), RecoveryFinetuning()])
    elif strategy.learns:
        yield "", Recipe.of([strategy()])
    else:
        yield "full_finetuning", Recipe.of([FullFinetuning(), strategy()])


@cache
def workspace_of(experiment: str, settings: tuple[str, ...], root: Path) -> Workspace:
    import torch

    torch.set_num_threads(1)
    folder = root / "strategies-alone"
    return Workspace.of(load_experiment(experiment, settings), Root(root), scratch=folder / "scratch")


def run(job: Job) -> Row:
    """Train, measure and score one recipe; the baseline has to be there already, unless it is the one."""
    workspace = workspace_of(job.experiment, job.settings, job.root)
    folder = job.root / "strategies-alone" / f"{job.number}"
    record = run_trial(
        job.number, Recipe.from_json(job.recipe), workspace, folder=folder, report=lambda _: None, screened=False
    )
    task = workspace.task
    mine, baseline = (
        task.outcomes(workspace.data.test, task.answer(saving.load(where, open_task=open_task), workspace.data.test))
        for where in (folder, folder.with_name("0"))
    )
    quality = task.judge(mine)["quality"]
    apart = paired_difference(mine, baseline, statistic=task.quality)
    ratio = record.measurements["latency_ratio"]
    return Row(
        experiment=workspace.experiment.study,
        strategy=job.strategy,
        beside=job.beside,
        quality=100 * quality.value,
        points=100 * apart.value,
        points_low=100 * apart.low,
        points_high=100 * apart.high,
        latency=ratio.value,
        latency_low=ratio.low,
        latency_high=ratio.high,
        noisy=ratio.noisy,
        size_mb=record.measurements["size"].value / 1e6,
        seconds=record.seconds,
    )


def keep(rows: Sequence[Row], file: Path) -> None:
    """Put the rows into the file, in the place of older ones of the same strategies and experiments."""
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    found = {(row["experiment"], row["strategy"], row["beside"]): row for row in kept}
    found |= {(row.experiment, row.strategy, row.beside): asdict(row) for row in rows}
    lines = ",\n".join(json.dumps(row) for _, row in sorted(found.items()))
    file.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=sorted(catalog()), choices=sorted(catalog()), metavar="NAME")
    parser.add_argument("--experiment", default="bbc-news", metavar="FILE")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="change the experiment")
    parser.add_argument("--root", type=Path, default=Path("autoopt-studies"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the rows in this file")
    options = parser.parse_args()
    experiment = load_experiment(options.experiment, options.set)
    known = facts(experiment, open_data(experiment)) | RECIPE_NEEDS | MODEL_NEEDS.keys() - {"causal"}
    asked = [strategy for name, strategy in catalog().items() if name in options.only]
    chosen = [strategy for strategy in asked if strategy.needs <= known and not strategy.requires]
    wanted = [("baseline", "", Recipe.of([FullFinetuning()]))]
    wanted += [(s.name, how, recipe) for s in chosen if s is not FullFinetuning for how, recipe in recipes_of(s)]
    where = (options.experiment, tuple(options.set), options.root.absolute())
    jobs = [Job(n, name, how, recipe.to_json(), *where) for n, (name, how, recipe) in enumerate(wanted)]
    print(
        ROW.format("strategy", "with", "quality", "points", "95 %", "latency", "95 %", "size MB", "seconds"), flush=True
    )
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as workers:
        for found in ([workers.submit(run, jobs[0]).result()], workers.map(run, jobs[1:])):
            for row in found:
                print(row, flush=True)
                if options.json:
                    keep([row], options.json)
    for strategy in asked:
        if missing := strategy.needs - known:
            print(f"{strategy.name}: this experiment has no {' and no '.join(sorted(missing))}")
        elif strategy.requires:
            print(f"{strategy.name}: it has to be told {' and '.join(sorted(strategy.requires))}")


if __name__ == "__main__":
    main()
