"""What would have to be beaten: rivals made by hand beside the front of a search, quality over time per text.

    python -m tests.benchmarks.rivals [--sets NAME ...] [--seeds N ...] [--minutes M] [--without NAME ...]
        [--json FILE] [--picture FILE]

All start from MiniLM or from the training texts alone, on the same splits; a seed draws the training examples as in
``trunks.py``. The rivals, for texts and pairs:

- ``TF-IDF + SVM``: TF-IDF of words and characters, linear SVM.
- ``fastText``: with the settings of its tutorial; needs ``fasttext``.
- ``model2vec``: static embeddings of MiniLM with logistic regression; needs ``model2vec[distill]``.
- ``frozen``: mean-pooled features of MiniLM with logistic regression; ``SetFit``: after contrastive training.
- ``fine-tuned``: by transformers' Trainer with the defaults of its arguments, in PyTorch, ONNX Runtime and, where
  ``openvino`` and ``nncf`` are installed, OpenVINO.

The front is that of ``autoopt search`` without a budget, with two workers, after ``--minutes``. A time is the
processor time from a text to its answer, one thread, one text at a time, by ``predict`` for autoopt's models: all
models of a data set answer the same texts in turn, in seven rounds. "Faster" is the median over the rounds of the time
of the fine-tuned model in PyTorch over a model's own. Quality is on the test split with its 95 % bootstrap interval.
"Above the front" compares a rival with the best model of the front that is as fast, or within 5 %, on the same test
examples: its points, with the interval of the paired difference; empty where no model of the front is that fast. Each
data set and seed is added to ``--json`` when it is done, and not run again.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoopt.objectives.scoring.bootstrap import bootstrap_interval, estimate, paired_difference
from autoopt.search.api import LoadedModel, SearchResult, load_model
from tests.benchmarks.methods import autoopts_own, by_hand, classical, lightweight, runtimes
from tests.benchmarks.methods.classical import Model
from tests.benchmarks.methods.data_sets import DATA_SETS, Splits, splits_of

RIVALS: Mapping[str, Callable[[Splits], Model]] = {
    "TF-IDF + SVM": classical.bag_of_words,
    "fastText": lightweight.fasttext,
    "model2vec": lightweight.model2vec,
    "frozen": lightweight.frozen,
    "SetFit": lightweight.setfit,
}
FINE_TUNED = "fine-tuned, PyTorch"
FOR_PAIRS = ("TF-IDF + SVM",)
ROUNDS = 7
TEXTS = 40
"""Number of test texts that a round answers."""
AS_FAST = 0.95
"""A model of the front counts as fast as a rival from this share of its speed on."""
ROW = "{:<12} {:<44} {:>20} {:>9} {:>8} {:>22}"


@dataclass(frozen=True)
class Contestant:
    """A model of one data set."""

    name: str
    ours: bool
    outcomes: Any
    """Of the test examples."""
    call: Callable[[Any], Any]
    """Answers one test example."""


@dataclass(frozen=True)
class Row:
    """What is known of a model; qualities in percent."""

    set: str
    seed: int
    name: str
    ours: bool
    quality: float
    low: float
    high: float
    milliseconds: float
    times: float
    """As fast as the fine-tuned model in PyTorch."""
    above: tuple[float, float, float] | None = None
    """Of a rival: points above the front, low and high."""

    def __str__(self) -> str:
        above = "" if self.above is None else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*self.above)
        quality = f"{self.quality:.1f} [{self.low:.1f}, {self.high:.1f}]"
        return ROW.format(self.set, self.name[:44], quality, f"{self.milliseconds:.3g} ms", f"{self.times:.1f}x", above)


def rivals_of(splits: Splits, without: Sequence[str]) -> Iterator[tuple[str, Model]]:
    """Yield every rival that can learn the data set, trained."""
    for name, make in RIVALS.items():
        if name not in without and (splits.is_single_text or (splits.is_pair and name in FOR_PAIRS)):
            yield name, make(splits)
    tuned = by_hand.fine_tuned(splits, by_default=True)
    if splits.is_single_text or splits.is_pair:
        yield from ((f"fine-tuned, {name}", model) for name, model in runtimes.in_runtimes(tuned))
    else:
        yield FINE_TUNED, lambda examples: splits.task.answer(tuned, examples)


def contestants(splits: Splits, result: SearchResult, without: Sequence[str]) -> Iterator[Contestant]:
    """Yield the rivals and then the models of the front."""
    test = splits.data.test

    def called(model: Model) -> Callable[[Any], Any]:
        return lambda example: model([example])

    def predicted(model: LoadedModel) -> Callable[[Any], Any]:
        return lambda example: model.predict(
            [example.text if example.text_pair is None else (example.text, example.text_pair)]
        )

    for name, model in rivals_of(splits, without):
        yield Contestant(name, False, splits.task.outcomes(test, model(test)), called(model))
    for verified in result.front:
        loaded = load_model(result.view.folder.kept_model(verified.record.number))
        answers = autoopts_own.answers_of(splits, loaded.candidate, test)
        name = " + ".join(step.name for step in verified.record.recipe.steps)
        outcomes = splits.task.outcomes(test, answers)
        yield Contestant(f"{verified.record.number} {name}", True, outcomes, predicted(loaded))


def times_of(all_of_them: Sequence[Contestant], examples: Sequence[Any]) -> list[list[float]]:
    """Return for each model the processor seconds per text of each round."""
    seconds: list[list[float]] = [[] for _ in all_of_them]
    for number in range(ROUNDS + 1):
        for contestant, mine in zip(all_of_them, seconds, strict=True):
            started = time.process_time()
            for example in examples:
                contestant.call(example)
            if number:  # The first round warms up.
                mine.append((time.process_time() - started) / len(examples))
    return seconds


def compared(splits: Splits, result: SearchResult, without: Sequence[str]) -> list[Row]:
    """Return a row for each model, rivals first."""
    everyone = list(contestants(splits, result, without))
    seconds = times_of(everyone, random.Random(0).sample(splits.data.test, min(TEXTS, len(splits.data.test))))
    reference = seconds[next(place for place, one in enumerate(everyone) if one.name == FINE_TUNED)]
    statistic = splits.task.quality
    times = [statistics.median(them / us for them, us in zip(reference, mine, strict=True)) for mine in seconds]
    qualities = [estimate(one.outcomes, statistic=statistic) for one in everyone]
    rows = []
    for one, mine, speed, quality in zip(everyone, seconds, times, qualities, strict=True):
        low, high = bootstrap_interval(one.outcomes, statistic=statistic, seed=0)
        matching = [place for place, other in enumerate(everyone) if other.ours and times[place] >= AS_FAST * speed]
        above = None
        if matching and not one.ours:
            best = everyone[max(matching, key=qualities.__getitem__)]
            difference = paired_difference(one.outcomes, best.outcomes, statistic=statistic)
            above = (100 * difference.value, 100 * difference.low, 100 * difference.high)
        rows.append(
            Row(
                set=splits.name,
                seed=splits.seed,
                name=one.name,
                ours=one.ours,
                quality=100 * quality,
                low=100 * low,
                high=100 * high,
                milliseconds=1000 * statistics.median(mine),
                times=speed,
                above=above,
            )
        )
    return rows


def draw(rows: Sequence[Row], file: Path) -> None:
    """Write a picture: a panel for each data set and seed, quality over times as fast, the front as a line."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    panels = list(dict.fromkeys((row.set, row.seed) for row in rows))
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 4.5), squeeze=False)
    for axis, panel in zip(axes[0], panels, strict=True):
        mine = [row for row in rows if (row.set, row.seed) == panel]
        front = sorted((row for row in mine if row.ours), key=lambda row: row.times)
        axis.step(
            [row.times for row in front], [row.quality for row in front], "o-", where="pre", color="tab:red", zorder=3
        )
        for row in mine:
            color = "tab:red" if row.ours else "tab:blue"
            axis.plot([row.times] * 2, [row.low, row.high], color=color, linewidth=0.8, alpha=0.5)
            if not row.ours:
                axis.plot([row.times], [row.quality], "s", color=color, markersize=4)
                place = {"xy": (row.times, row.quality), "xytext": (2, 3), "textcoords": "offset points"}
                axis.annotate(row.name, **place, fontsize=6, rotation=50)
        axis.set_xscale("log")
        axis.set_title(f"{panel[0]}, seed {panel[1]}", fontsize=9)
        axis.grid(linewidth=0.3)
    figure.supxlabel("times as fast as the fine-tuned model in PyTorch, text to answer", fontsize=8)
    figure.supylabel("test quality in percent", fontsize=8)
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)


def read(file: Path) -> list[Row]:
    """Return the rows that earlier calls added to the file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [Row(**json.loads(line)) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sets = [name for name in DATA_SETS if name != "clinc150-10"]
    parser.add_argument("--sets", nargs="*", default=sets, choices=DATA_SETS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--minutes", type=float, default=autoopts_own.SEARCH_MINUTES)
    parser.add_argument("--without", nargs="*", default=[], choices=RIVALS, help="SetFit takes eleven minutes")
    parser.add_argument("--root", type=Path, help="keep the studies here, and use those that are there")
    parser.add_argument("--json", type=Path, default=Path("rivals.jsonl"), metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the table, such as to rivals.svg")
    options = parser.parse_args()
    import torch

    for name in options.sets:
        for seed in options.seeds:
            if any((row.set, row.seed) == (name, seed) for row in read(options.json)):
                continue
            splits = splits_of(name, seed)
            with tempfile.TemporaryDirectory() as temporary:
                home = (options.root or Path(temporary)) / f"{name}-{seed}"
                home.mkdir(parents=True, exist_ok=True)
                result = autoopts_own.searched(splits, home, minutes=options.minutes)
                torch.set_num_threads(1)
                rows = compared(splits, result, options.without)
            with options.json.open("a", encoding="utf-8") as lines:
                lines.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
            print(f"{name}, seed {seed}: {len(rows)} models", flush=True)
    rows = [row for row in read(options.json) if row.set in options.sets]
    print(ROW.format("data", "model", "test quality", "a text", "faster", "points above the front"))
    for row in rows:
        print(row)
    if options.picture:
        draw(rows, options.picture)


if __name__ == "__main__":
    main()
