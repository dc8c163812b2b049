"""What would have to be beaten: hand-made models beside autoopt's baseline, before and now, on the same splits.

    python -m tests.benchmarks.trunks [--methods NAME ...] [--sets NAME ...] [--seeds N] [--search] [--json FILE]
        [--picture FILE]

All start from MiniLM. The methods:

- ``tfidf``: TF-IDF of words and characters, linear SVM.
- ``frozen-first``, ``-mean``, ``-max``, ``-last``: the base model's last states, pooled like this, logistic regression;
  ``frozen-pairs``: of the mean vectors of both texts, difference and product; ``frozen-tokens``: of each word.
- ``setfit``: contrastive pairs, then logistic regression (Tunstall et al. 2022); at most 1,000 steps.
- ``trainer``: transformers' Trainer with what its example scripts are given (texts and pairs 2e-5, 3 epochs, batches of
  32; tags the defaults; questions 3e-5, 2 epochs, batches of 12); ``trainer-defaults``: 5e-5, 3 epochs, batches of 8.
- ``old``: autoopt's baseline as it was, the first token through transformers' pooler, 2e-4, 3 epochs.
- ``probe``: autoopt's frozen trunk; ``baseline``: ``FullFinetuning()`` on the model as autoopt opens it.
- ``no-pooling`` (the head of transformers), ``no-head-first``, ``no-validation`` (the last weights), ``layer-decay``
  (0.9), ``contrastive`` (fine-tuned so before the head, Khosla et al. 2020): the baseline without one of its parts, or
  with one more; texts only, and only if they are asked for.
- ``search``, with ``--search``: the best model by validation of a search of ten minutes on two workers.

A seed draws the training examples (SST-2 1,000; CLINC150 without "oos" 3,000, or 10 of each class; BBC News 300; of the
others all) and seeds the training. Quality is on the test split: the mean over the seeds, with the 95 % bootstrap
interval over the test examples, and the standard deviation over the seeds. Points are to ``baseline`` on the same
seeds, with the interval of the paired difference. Seconds are those of one processor, of ``search`` those on the clock.
Each run is added to ``--json`` when it ends, and one that is in it already is not run again, also if another process
added it meanwhile. About four hours of one processor for three seeds of all but ``search``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.objectives.scoring.bootstrap import bootstrap_interval, estimate, paired_difference
from tests.benchmarks.methods import autoopts_own, by_hand, classical
from tests.benchmarks.methods.data_sets import DATA_SETS, Splits, splits_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from autoopt.objectives.scoring.bootstrap import Statistic

Method: TypeAlias = Callable[[Splits], list[Any]]
"""Learns from the training and validation examples; returns an answer to each test example."""
METHODS: Mapping[str, Method] = {
    "tfidf": classical.tfidf_svm,
    **{f"frozen-{pooling}": classical.frozen(pooling) for pooling in classical.POOLINGS},
    "frozen-pairs": classical.frozen_pairs,
    "frozen-tokens": classical.frozen_tokens,
    "setfit": by_hand.setfit,
    "trainer": by_hand.trainer(by_default=False),
    "trainer-defaults": by_hand.trainer(by_default=True),
    "old": autoopts_own.old_baseline,
    "probe": autoopts_own.PROBE,
    "baseline": autoopts_own.BASELINE,
    **autoopts_own.PARTS,
    "search": autoopts_own.best_of_search,
}
BY_DEFAULT = [name for name in METHODS if name != "search" and name not in autoopts_own.PARTS]
BASELINE = "baseline"
ROW = "{:<12} {:<17} {:>5} {:>20} {:>6} {:>22} {:>8}"


@dataclass(frozen=True)
class Run:
    """One method on one data set with one seed."""

    set: str
    method: str
    seed: int
    metric: str
    quality: float
    seconds: float
    """Of one processor; of a whole search on the clock."""

    @property
    def key(self) -> tuple[str, str, int]:
        return self.set, self.method, self.seed


@dataclass(frozen=True)
class Results:
    """The runs in a file, with what each answered to the test examples in a folder beside it."""

    file: Path

    def runs(self) -> list[Run]:
        if not self.file.exists():
            return []
        lines = self.file.read_text(encoding="utf-8").splitlines()
        # The last run of a key counts, so that a line may be added again.
        return list({run.key: run for run in (Run(**json.loads(line)) for line in lines)}.values())

    def add(self, run: Run, outcomes: NDArray[Any]) -> None:
        import numpy as np

        self._outcomes_of(run).parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self._outcomes_of(run), outcomes=outcomes)
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(run)) + "\n")

    def outcomes(self, run: Run) -> NDArray[Any]:
        import numpy as np

        with np.load(self._outcomes_of(run)) as kept:
            return kept["outcomes"]  # type: ignore[no-any-return]

    def _outcomes_of(self, run: Run) -> Path:
        return self.file.with_suffix(".outcomes") / f"{run.set}.{run.method}.{run.seed}.npz"


@dataclass(frozen=True)
class Row:
    """One method on one data set, over its seeds; in percent."""

    set: str
    method: str
    seeds: int
    quality: float
    low: float
    high: float
    deviation: float
    """Standard deviation over the seeds."""
    points: tuple[float, float, float] | None
    """To the baseline: value, low and high; None if no seed has both."""
    seconds: float

    def __str__(self) -> str:
        points = "" if self.points is None else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*self.points)
        return ROW.format(
            self.set,
            self.method,
            self.seeds,
            f"{self.quality:.1f} [{self.low:.1f}, {self.high:.1f}]",
            f"{self.deviation:.1f}",
            points,
            f"{self.seconds:.0f}",
        )


def applies(method: str, splits: Splits) -> bool:
    """Whether the method can learn this task."""
    if method in ("tfidf", *(f"frozen-{pooling}" for pooling in classical.POOLINGS)):
        return splits.is_single_text or splits.is_pair
    if method in autoopts_own.PARTS:
        return splits.is_single_text
    needs = {"frozen-pairs": splits.is_pair, "frozen-tokens": splits.is_tagged, "setfit": splits.is_single_text}
    return needs.get(method, True)


def run(method: str, splits: Splits) -> tuple[Run, NDArray[Any]]:
    """Run one method; return its test quality and the outcomes of the test examples."""
    clock = time.monotonic if method == "search" else time.process_time  # A search has processes of its own.
    started = clock()
    answers = METHODS[method](splits)
    seconds = clock() - started
    outcomes = splits.task.outcomes(splits.data.test, answers)
    quality = estimate(outcomes, statistic=splits.task.quality)
    metric = splits.task.metric or next(iter(splits.task.statistics))
    return Run(splits.name, method, splits.seed, metric, quality, seconds), outcomes


def rows_of(results: Results, sets: Sequence[str]) -> Iterator[Row]:
    """Yield what is known of these data sets, in the order of the methods."""
    by_key = {run.key: run for run in results.runs()}
    for name in sets:
        for method in METHODS:
            mine = [run for key, run in sorted(by_key.items()) if key[:2] == (name, method)]
            if mine:
                yield _row(results, mine, [by_key[key] for r in mine if (key := (name, BASELINE, r.seed)) in by_key])


def _row(results: Results, mine: Sequence[Run], theirs: Sequence[Run]) -> Row:
    statistic = splits_of(mine[0].set, 0).task.quality
    low, high = bootstrap_interval(_joined(results, mine), statistic=mean_over_seeds(statistic, len(mine)), seed=0)
    points = None
    if theirs and mine[0].method != BASELINE:
        paired = [run for run in mine if run.seed in {other.seed for other in theirs}]
        difference = paired_difference(
            _joined(results, paired),
            _joined(results, theirs),
            statistic=mean_over_seeds(statistic, len(paired)),
        )
        points = (100 * difference.value, 100 * difference.low, 100 * difference.high)
    qualities = [100 * run.quality for run in mine]
    return Row(
        set=mine[0].set,
        method=mine[0].method,
        seeds=len(mine),
        quality=statistics.mean(qualities),
        low=100 * low,
        high=100 * high,
        deviation=statistics.stdev(qualities) if len(mine) > 1 else 0.0,
        points=points,
        seconds=statistics.mean(run.seconds for run in mine),
    )


def _joined(results: Results, runs: Sequence[Run]) -> NDArray[Any]:
    """Return the outcomes of all seeds side by side, (test examples, seeds * columns)."""
    import numpy as np

    return np.concatenate([results.outcomes(run) for run in runs], axis=1)


def mean_over_seeds(statistic: Statistic, seeds: int) -> Statistic:
    """Return the mean of the statistic over the seeds, whose outcomes stand side by side."""
    import numpy as np

    def mean(distinct: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
        parts = np.split(distinct, seeds, axis=1)
        return np.mean([statistic(part, counts) for part in parts], axis=0)  # type: ignore[no-any-return]

    return mean


def draw(rows: Sequence[Row], file: Path) -> None:
    """Write a picture: a panel for each data set, a point with its interval for each method."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    sets = list(dict.fromkeys(row.set for row in rows))
    methods = [name for name in METHODS if any(row.method == name for row in rows)]
    figure, axes = pyplot.subplots(1, len(sets), figsize=(2.2 * len(sets) + 1.5, 4), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], sets, strict=True):
        for row in (row for row in rows if row.set == name):
            place = methods.index(row.method)
            color = "tab:red" if row.method in ("old", "probe", BASELINE, "search") else "tab:blue"
            axis.plot([row.low, row.high], [place, place], color=color, linewidth=1)
            axis.plot([row.quality], [place], "o", color=color, markersize=4)
        axis.set_title(name, fontsize=9)
        axis.grid(axis="x", linewidth=0.3)
    axes[0][0].set_yticks(range(len(methods)), methods, fontsize=8)
    axes[0][0].invert_yaxis()
    figure.supxlabel("test quality in percent, 95 % interval over the test examples", fontsize=8)
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", default=BY_DEFAULT, choices=METHODS)
    parser.add_argument("--sets", nargs="*", default=list(DATA_SETS), choices=DATA_SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--search", action="store_true", help="run the searches of ten minutes too")
    parser.add_argument("--json", type=Path, default=Path("trunks.jsonl"), metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the table, such as to trunks.svg")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="sklearn")  # Logistic regression stops after 300 iterations.
    results = Results(options.json)
    for name in options.sets:
        for seed in range(options.seeds):
            splits = splits_of(name, seed)
            for method in [*options.methods, *(["search"] if options.search else [])]:
                done = {each.key for each in results.runs()}
                if (name, method, seed) not in done and applies(method, splits):
                    found, outcomes = run(method, splits)
                    results.add(found, outcomes)
                    print(
                        f"{name}, {method}, seed {seed}: {100 * found.quality:.1f} in {found.seconds:.0f} s", flush=True
                    )
    rows = list(rows_of(results, options.sets))
    print(ROW.format("data", "method", "seeds", "test quality", "seeds ±", "points", "seconds"))
    for row in rows:
        print(row)
    if options.picture:
        draw(rows, options.picture)


if __name__ == "__main__":
    main()
