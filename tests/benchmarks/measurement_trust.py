"""Whether measurements of latency can be believed: disturbances are seen, nothing else is, and ratios are right.

    python -m tests.benchmarks.measurement_trust [--quick] [--only NAME ...] [--json FILE]

Each line of the table is an experiment on this machine, with what is promised and what was found; the exit code is 1
where a promise is not kept. Nothing may run beside it: ``quiet`` waits for the machine to come to rest, and is not run
where it does not. A quarter of an hour on 2 cores; ``--quick`` takes four minutes, with fewer runs.

- ``crowded``: as many processes spin as there are processors, and one more; every comparison is to be by processor
  time, or flagged as noisy.
- ``neighbour``: one process spins, which leaves a processor free; likewise.
- ``quiet``: nothing else runs; every comparison is to be by the clock.
- ``sleep``: a model that sleeps 20 ms has a latency of 20 ms.
- ``same``, ``same-1``, ``same-4``: a model compared with its own copy has a ratio within 3 % of 1, alone and beside one
  and four processes that spin.
- ``turned``: which of two models is called the reference does not matter: the two ratios multiply to 1 within 6 %.
- ``answering``: where a tokenizer sleeps 2 ms and a model 5 ms, an answer takes 7 ms more.
- ``predicting``: ``predict`` of a saved model takes as long as was measured, within 5 %: in PyTorch, in ONNX Runtime,
  with an early exit, and of static embeddings. Needs ``autoopt[quickstart]``.
- ``ranking``, ``ranking-1``, ``ranking-4``: ten models of 10 to 1 layers come out in this order, likewise.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from autoopt.objectives.target import Target
from autoopt.objectives.timing.latency import Comparison, calibrate
from autoopt.objectives.timing.model_call import calibrate_model, compare_models
from autoopt.objectives.timing.neighbours import watch_processors
from autoopt.objectives.timing.texts import typical_texts
from autoopt.search.api import LoadedModel, load_model
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import find
from autoopt.strategies.saving import save
from tests.benchmarks.methods.data_sets import MODEL, splits_of

TARGET = Target(sequence_length=32)
REST = 0.1
"""So many processors may others use on a machine that counts as quiet."""
PATIENCE_S = 120.0
ROW = "{:<10} {:<58} {:>10} {:<28} {:>7}"


@dataclass(frozen=True)
class Finding:
    """How an experiment ended."""

    name: str
    promise: str
    kept: int
    runs: int
    needed: float
    """The share of the runs in which it has to be kept."""
    detail: str

    @property
    def passed(self) -> bool | None:
        """None where it could not be run."""
        return None if self.runs == 0 else self.kept >= self.needed * self.runs

    @property
    def verdict(self) -> str:
        return {None: "NOT RUN", True: "PASS", False: "FAIL"}[self.passed]


def model(layers: int = 6, seed: int = 0) -> Any:
    """A BERT classifier that answers in some milliseconds."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=1000, hidden_size=256, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=1024
    )
    return BertForSequenceClassification(config).eval()  # type: ignore[no-untyped-call]


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Keep so many processes busy meanwhile."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.5)  # Until they have started.
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def others_use(seconds: float = 1.0) -> float:
    """How many processors other processes use now."""
    ended = watch_processors()
    time.sleep(seconds)
    return ended() or 0.0


def comes_to_rest(patience_s: float = PATIENCE_S) -> bool:
    """Wait until nobody uses this machine."""
    deadline = time.monotonic() + patience_s
    while others_use() > REST:
        if time.monotonic() > deadline:
            return False
    return True


def flagged(name: str, promise: str, runs: int, *, busy: int) -> Finding:
    """Compare two models beside so many spinning processes."""
    candidate, reference = model(3), model(6)
    with spinning(busy):
        found = [compare_models(candidate, reference, TARGET) for _ in range(runs)]
    return Finding(name, promise, sum(item.disturbed for item in found), runs, 0.95, _conditions(found))


def crowded(runs: int) -> Finding:
    processors = len(os.sched_getaffinity(0))
    promise = f"seen beside {processors + 1} busy processes on {processors} processors, in 95 %"
    return flagged("crowded", promise, runs, busy=processors + 1)


def neighbour(runs: int) -> Finding:
    return flagged("neighbour", "seen beside one busy process, in 95 %", runs, busy=1)


def quiet(runs: int, *, patience_s: float = PATIENCE_S) -> Finding:
    """Compare two models while nothing else runs."""
    promise = "by the clock on a quiet machine, in 95 %"
    candidate, reference = model(3), model(6)
    found: list[Comparison] = []
    for _ in range(runs):
        if not comes_to_rest(patience_s):
            detail = f"the machine is not quiet: others use {others_use():.2f} processors"
            return Finding("quiet", promise, 0, 0, 0.95, detail)
        found.append(compare_models(candidate, reference, TARGET))
    return Finding("quiet", promise, sum(not item.disturbed for item in found), runs, 0.95, _conditions(found))


def sleep(runs: int) -> Finding:
    medians = [calibrate(lambda: time.sleep(0.02), TARGET, samples=25, cpu_bound=False).p50_ms for _ in range(runs)]
    kept = sum(20 <= median <= 21 for median in medians)
    return Finding(
        "sleep", "a sleep of 20 ms takes 20 to 21 ms", kept, runs, 1.0, f"{min(medians):.2f} to {max(medians):.2f} ms"
    )


def same(runs: int, *, busy: int = 0) -> Finding:
    reference = model()
    candidate = copy.deepcopy(reference)
    with spinning(busy):
        comparisons = [compare_models(candidate, reference, TARGET) for _ in range(runs)]
    ratios = [item.ratio for item in comparisons]
    kept = sum(abs(ratio - 1) <= 0.03 for ratio in ratios)
    detail = f"{_from_to(ratios)}, {sum(item.noisy for item in comparisons)} noisy"
    return Finding("same", f"a copy within 3 % of 1 beside {busy} busy processes, in 95 %", kept, runs, 0.95, detail)


def turned(runs: int) -> Finding:
    one, other = model(5), model(6)
    products = [
        compare_models(one, other, TARGET).ratio * compare_models(other, one, TARGET).ratio for _ in range(runs)
    ]
    kept = sum(abs(product - 1) <= 0.06 for product in products)
    return Finding("turned", "a/b times b/a within 6 % of 1, in 95 %", kept, runs, 0.95, _from_to(products))


def answering(runs: int) -> Finding:
    """Compare what a made-up model takes with what it takes when its tokenizer and it sleep.

    It computes nothing: after a sleep a processor computes more slowly.
    """
    extra = []
    for _ in range(runs):
        candidate, target = small_candidate()
        answer = candidate.model(**candidate.tokenizer(["a"], return_tensors="pt"))
        candidate.model.forward = lambda answer=answer, **_: answer
        before = calibrate_model(candidate, target, samples=60).p50_ms
        slow(candidate)
        extra.append(calibrate_model(candidate, target, samples=60).p50_ms - before)
    kept = sum(7.0 <= each <= 7.35 for each in extra)
    detail = f"{min(extra):.2f} to {max(extra):.2f} ms"
    return Finding("answering", "sleeps of 2 and 5 ms take 7 to 7.35 ms", kept, runs, 1.0, detail)


def small_candidate() -> tuple[Candidate, Target]:
    """A classifier of news without training, and what it is timed on."""
    splits = splits_of("bbc-news", 0)
    candidate = splits.task.open_model(MODEL, data=splits.data, seed=0)
    tokens = [len(features["input_ids"]) for features in candidate.encode(splits.data.validation)]
    return candidate, Target(texts=typical_texts(splits.data.validation, tokens))


def slow(candidate: Candidate) -> None:
    """Let its tokenizer sleep 2 ms and its model 5 ms before each text."""
    tokenizer: Any = candidate.tokenizer
    usual = type(tokenizer)

    def call(self: Any, *texts: Any, **settings: Any) -> Any:
        time.sleep(0.002)
        return usual.__call__(self, *texts, **settings)

    tokenizer.__class__ = type("SlowTokenizer", (usual,), {"__call__": call})
    candidate.model.register_forward_pre_hook(lambda *_: time.sleep(0.005))


def predicting(runs: int) -> Finding:
    """Time saved models as a search does, and their ``predict`` in a loop, in turn."""
    candidate, target = small_candidate()
    texts = [list(batch) for batches in target.texts for batch in batches]
    ratios: dict[str, float] = {}
    for name in ("", "onnx_runtime", "early_exit", "static_embeddings"):
        made = replace(candidate, teacher=candidate.model)
        if name:  # Where texts leave the model is learned; the others take as long untrained.
            made = find(name)().apply(made, effort=float(name == "early_exit"), seed=0)
        with tempfile.TemporaryDirectory() as folder:
            save(made, Path(folder) / "model")
            served = load_model(Path(folder) / "model")
            both = []
            for _ in range(runs):
                reported = calibrate_model(served.candidate, target, samples=100).p50_ms
                both.append(1000 * statistics.median(predict_seconds(served, texts)) / reported)
        ratios[name or "PyTorch"] = statistics.median(both)
    kept = sum(abs(ratio - 1) <= 0.05 for ratio in ratios.values())
    detail = ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items())
    return Finding("predicting", "predict over what was measured within 5 % of 1", kept, len(ratios), 1.0, detail)


def predict_seconds(served: LoadedModel, batches: Sequence[Sequence[Any]]) -> list[float]:
    """Time each batch twice after a first round, on one thread."""
    import torch

    before, seconds = torch.get_num_threads(), []
    torch.set_num_threads(1)
    for number in range(3):
        for batch in batches:
            started = time.perf_counter()
            served.predict(batch)
            if number:
                seconds.append(time.perf_counter() - started)
    torch.set_num_threads(before)
    return seconds


def ranking(runs: int, *, busy: int = 0) -> Finding:
    """Compare models of 1 to 9 layers with the one of 10, the deepest last and first in turn."""
    reference = model(10)
    smaller = {layers: model(layers) for layers in range(1, 10)}
    kept, last = 0, ""
    with spinning(busy):
        for run in range(runs):
            order = sorted(smaller, reverse=run % 2 == 0)
            ratios = {layers: compare_models(smaller[layers], reference, TARGET).ratio for layers in order}
            ranked = [1.0, *(ratios[layers] for layers in sorted(ratios, reverse=True))]
            kept += ranked == sorted(ranked, reverse=True)
            last = " ".join(f"{ratio:.2f}" for ratio in ranked[1:])
    return Finding("ranking", f"ten models in order beside {busy} busy processes, always", kept, runs, 1.0, last)


EXPERIMENTS: dict[str, tuple[Callable[[int], Finding], int, int]] = {
    "quiet": (quiet, 20, 5),
    "same": (same, 20, 5),
    "same-1": (partial(same, busy=1), 20, 5),
    "same-4": (partial(same, busy=4), 20, 5),
    "turned": (turned, 10, 3),
    "sleep": (sleep, 10, 3),
    "neighbour": (neighbour, 20, 5),
    "crowded": (crowded, 20, 3),
    "answering": (answering, 5, 2),
    "predicting": (predicting, 7, 3),
    "ranking": (ranking, 3, 1),
    "ranking-1": (partial(ranking, busy=1), 3, 1),
    "ranking-4": (partial(ranking, busy=4), 3, 1),
}
"""With the number of runs, and that with ``--quick``."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer runs, which show less")
    parser.add_argument("--only", nargs="*", default=list(EXPERIMENTS), choices=list(EXPERIMENTS), metavar="NAME")
    parser.add_argument("--json", type=Path, help="write the findings there too")
    options = parser.parse_args()
    print(ROW.format("experiment", "promised", "kept", "seen", ""))
    findings = []
    for name in options.only:
        experiment, runs, fewer = EXPERIMENTS[name]
        found = experiment(fewer if options.quick else runs)
        findings.append(found)
        print(ROW.format(name, found.promise, f"{found.kept} of {found.runs}", found.detail, found.verdict))
        sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps([{**asdict(f), "passed": f.passed} for f in findings], indent=1) + "\n")
    sys.exit(any(found.passed is False for found in findings))


def _conditions(found: list[Comparison]) -> str:
    shares = [item.cpu_over_wall for item in found]
    others = [item.others or 0.0 for item in found]
    return f"cpu/wall {min(shares):.2f}-{max(shares):.2f}, others {min(others):.2f}-{max(others):.2f}"


def _from_to(values: list[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"


if __name__ == "__main__":
    main()
