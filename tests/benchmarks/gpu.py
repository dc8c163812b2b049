"""Training on a GPU: throughput against the CPU, two trials on one GPU, memory, and every strategy once.

    python tests/benchmarks/gpu.py [--device cuda:0] [--only strategies training decoder shared memory]

Needs a GPU, and at most ten minutes on it; ``--device cpu`` rehearses the command on a CPU. Not yet run on a GPU. It
needs no Ray, Optuna or MLflow and no model: the weights are random, since throughput does not depend on them. Where
autoopt is not installed, a link to the checkout that is named ``autoopt``, in a folder on ``PYTHONPATH``, will do.

``training``: a model of MiniLM's shape on random tokens of 16 to 128, with one thread of the CPU, with all of its
threads, and on the GPU. ``decoder``: a model of SmolLM2-135M's shape on texts of 512 tokens. ``shared``: one process
that trains on the GPU, then two at once. ``memory``: the peak for growing batches, and what becomes of a training when
only that of half a batch is allowed. ``strategies``: each one applied to a tiny model on the GPU, which tells of
tensors that are left on another device.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # For tests.strategies.

from autoopt.strategies.candidate import Candidate, Features
from autoopt.strategies.catalog import catalog
from autoopt.strategies.errors import OutOfMemory
from autoopt.strategies.strategy import Family, Strategy
from autoopt.strategies.system.devices import CPU, Device, training_on
from autoopt.strategies.training.loop import Schedule, train
from autoopt.strategies.training.precision import training_precision

ROW = "{:<44} {:>14} {:>12} {:>12}"
BATCH = 16
CPU_STEPS, GPU_STEPS = 4, 60
TEXT_TOKENS = 512
SHARED_S = 10.0
"""How long the processes that share a device train while they are timed."""


def encoder(device: Device) -> Any:
    """A model of the shape of all-MiniLM-L6 with a head for two classes, on the device."""
    from transformers import BertConfig, BertForSequenceClassification

    shape: dict[str, Any] = {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    }
    return device.place(BertForSequenceClassification(BertConfig(**shape)))


def decoder_model(device: Device) -> Any:
    """A model of the shape of SmolLM2-135M, on the device."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape: dict[str, Any] = {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9}
    more: dict[str, Any] = {
        "num_key_value_heads": 3,
        "intermediate_size": 1536,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
    }
    return device.place(LlamaForCausalLM(LlamaConfig(**shape, **more)))


def texts(count: int) -> list[Features]:
    """Random tokens, as many as texts of 16 to 128 words have."""
    chance = random.Random(0)
    made = [[chance.randrange(1000, 30000) for _ in range(chance.randint(16, 128))] for _ in range(count)]
    return [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": chance.randrange(2)} for ids in made]


def long_texts(count: int) -> list[Features]:
    """Random texts of ``TEXT_TOKENS``, each to be continued."""
    chance = random.Random(0)
    made = [[chance.randrange(1, 49152) for _ in range(TEXT_TOKENS)] for _ in range(count)]
    return [{"input_ids": ids, "attention_mask": [1] * TEXT_TOKENS, "labels": ids} for ids in made]


def examples_per_second(
    device: Device,
    steps: int,
    batch_size: int = BATCH,
    *,
    model: Callable[[Device], Any] = encoder,
    examples: Callable[[int], list[Features]] = texts,
) -> float:
    """Return the throughput of ``steps`` optimizer steps, after some that are not timed."""
    trained = model(device)
    seconds_of(trained, device, examples((5 if device.is_gpu else 1) * batch_size), batch_size)
    return steps * batch_size / seconds_of(trained, device, examples(steps * batch_size), batch_size)


def seconds_of(model: Any, device: Device, examples: list[Features], batch_size: int) -> float:
    """The time of an epoch."""
    schedule = Schedule(learning_rate=1e-5, epochs=1, batch_size=batch_size)
    with training_on(device):
        device.synchronize()
        begun = time.perf_counter()
        train(model, examples, schedule, pad_token_id=0, effort=1, seed=0)
        device.synchronize()
        return time.perf_counter() - begun


def training(device: Device) -> None:
    threads = len(os.sched_getaffinity(0))
    print(ROW.format("training MiniLM, batches of 16", "examples/s", "times", "precision"))
    torch.set_num_threads(1)
    single = examples_per_second(CPU, CPU_STEPS)
    print(ROW.format("CPU, 1 thread", f"{single:.0f}", "1.0", precision_of(CPU)))
    torch.set_num_threads(threads)
    every = examples_per_second(CPU, CPU_STEPS)
    print(ROW.format(f"CPU, {threads} threads", f"{every:.0f}", f"{every / single:.1f}", ""))
    torch.set_num_threads(1)
    for batch_size in (16, 64) if device.is_gpu else (16,):
        steps = GPU_STEPS if device.is_gpu else CPU_STEPS
        rate = examples_per_second(device, steps, batch_size)
        name = f"{device.label}, batches of {batch_size}"
        print(ROW.format(name, f"{rate:.0f}", f"{rate / single:.1f}", precision_of(device)), flush=True)


def decoder(device: Device) -> None:
    print(ROW.format(f"training SmolLM2-135M, {TEXT_TOKENS} tokens a text", "tokens/s", "times", "peak MiB"))
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    slow = TEXT_TOKENS * examples_per_second(CPU, 1, 1, model=decoder_model, examples=long_texts)
    print(ROW.format("CPU, all threads, 1 text at a time", f"{slow:.0f}", "1.0", ""), flush=True)
    torch.set_num_threads(1)
    for batch_size in (4, 16) if device.is_gpu else ():
        device.release()
        device.reset_peak()
        rate = TEXT_TOKENS * examples_per_second(device, 15, batch_size, model=decoder_model, examples=long_texts)
        peak = f"{(device.peak_bytes() or 0) / 2**20:.0f}"
        print(
            ROW.format(f"{device.label}, batches of {batch_size}", f"{rate:.0f}", f"{rate / slow:.1f}", peak),
            flush=True,
        )


def precision_of(device: Device) -> str:
    return str(training_precision(device.torch_device)).removeprefix("torch.")


def shared(device: Device) -> None:
    """One worker alone on the device, then two that are timed at once, each in a process of its own."""
    print(ROW.format("workers on one device", "examples/s", "each", ""))
    for workers in (1, 2):
        command = [sys.executable, __file__, "--device", device.name, "--worker"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen(command, **pipes) for _ in range(workers)]
        for process in processes:
            process.stdout.readline()  # type: ignore[union-attr]  # It is ready.
        rates = [float(output.split()[-1]) for output in answers(processes)]
        each = ", ".join(f"{rate:.0f}" for rate in rates)
        print(ROW.format(str(workers), f"{sum(rates):.0f}", each, ""), flush=True)


def answers(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Let all processes begin at once, and return what each prints."""
    for process in processes:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    return [process.communicate()[0] for process in processes]


def work(device: Device) -> None:
    """Train for ``SHARED_S`` once told to, and print the throughput."""
    torch.set_num_threads(1)
    model, steps = encoder(device), 20 if device.is_gpu else 2
    seconds_of(model, device, texts(steps * BATCH), BATCH)
    rate = steps / seconds_of(model, device, texts(steps * BATCH), BATCH)
    examples = texts(max(1, round(rate * SHARED_S)) * BATCH)
    print("ready", flush=True)
    sys.stdin.readline()
    print(len(examples) / seconds_of(model, device, examples, BATCH))


def memory(device: Device) -> None:
    print(ROW.format("memory of a training", "peak MiB", "", ""))
    if not device.is_gpu:
        print("not measured on a CPU")
        return
    peaks = {}
    for batch_size in (16, 32, 64, 128):
        device.release()
        device.reset_peak()
        examples_per_second(device, 5, batch_size)
        peaks[batch_size] = device.peak_bytes() or 0
        print(ROW.format(f"batches of {batch_size}", f"{peaks[batch_size] / 2**20:.0f}", "", ""), flush=True)
    total = torch.cuda.get_device_properties(device.name).total_memory
    for allowed in (64, 32, 16):
        device.release()
        # With what the allocator of torch keeps in pieces that are too small.
        torch.cuda.set_per_process_memory_fraction(min(1.0, peaks[allowed] * 1.25 / total), device.name)
        try:
            result = f"{examples_per_second(device, 10, 128):.0f} examples/s"
        except (OutOfMemory, torch.OutOfMemoryError) as error:
            result = str(error).splitlines()[0]
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
    from tests.strategies.test_contract import candidate_for

    candidate = candidate_for(strategy)
    teacher = candidate.teacher
    return replace(
        candidate,
        model=device.place(candidate.copy_model()),
        teacher=None if teacher is None else device.place(teacher),
    )


PARTS: dict[str, Callable[[Device], None]] = {
    "training": training,
    "decoder": decoder,
    "shared": shared,
    "memory": memory,
    "strategies": strategies,
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
        work(device)
        return
    print(f"torch {torch.__version__}, {device.label}")
    for name in chosen.only:
        print()
        begun = time.perf_counter()
        try:
            PARTS[name](device)
        except Exception as error:  # noqa: BLE001  The other parts are worth their time on the GPU all the same.
            print(f"{name} failed: {type(error).__name__}: {error}")
        print(f"({name}: {time.perf_counter() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
