"""Time the kernels for 8-bit linear layers in turn: torch's deprecated one, the plain integer product, oneDNN's.

    python tests/benchmarks/int8_kernels.py

One thread, layers of MiniLM's shapes, lower quartile of 40 rounds (others may use the machine); times as a share of
fp32, which is given in microseconds. The last column is oneDNN's as a share of the deprecated kernel's.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from itertools import product
from typing import TypeAlias

import torch
from torch import nn

from autoopt.strategies.stand_ins import int8_linear
from autoopt.strategies.stand_ins.int8_linear import Int8Linear

ROUNDS = 40
Call: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


def fbgemm(layer: Int8Linear) -> Call:
    """Multiply with the kernel of torch's dynamic quantization, whose tensors torch is going to remove."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zeros = torch.zeros(len(layer.wscale), dtype=torch.long)
        weight = torch._make_per_channel_quantized_tensor(layer.qweight, layer.wscale.double(), zeros, 0)
        packed = torch.ops.quantized.linear_prepack(weight, None if layer.per_token else layer.bias)

    def call(inputs: torch.Tensor) -> torch.Tensor:
        if not layer.per_token:
            return torch.ops.quantized.linear_dynamic(inputs, packed, reduce_range=False)  # type: ignore[no-any-return]
        scale = inputs.abs().amax(-1, keepdim=True).clamp_min(1e-8)
        outputs = torch.ops.quantized.linear_dynamic(inputs / scale, packed, reduce_range=False)
        return outputs.mul_(scale).add_(layer.bias)  # type: ignore[no-any-return]

    return call


def with_kernel(linear: nn.Linear, *, per_token: bool, onednn: bool) -> Call:
    """Return our layer with one of its two kernels."""
    layer = Int8Linear.of(linear, per_token=per_token)

    def call(inputs: torch.Tensor) -> torch.Tensor:
        int8_linear._has_fbgemm = lambda: False  # type: ignore[assignment]
        int8_linear._has_onednn = lambda: onednn  # type: ignore[assignment]
        return layer(inputs)  # type: ignore[no-any-return]

    return call


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    print(f"{'layer':>12}{'rows':>6}{'scales':>8}{'fp32 us':>9}{'before':>8}{'integer':>9}{'oneDNN':>8}{'ratio':>7}")
    for width, outputs in ((384, 384), (384, 1536), (1536, 384)):
        linear = nn.Linear(width, outputs)
        for rows, per_token in product((16, 32, 64, 128, 1024), (False, True)):
            calls: list[Call] = [
                linear,
                fbgemm(Int8Linear.of(linear, per_token=per_token)),
                *(with_kernel(linear, per_token=per_token, onednn=onednn) for onednn in (False, True)),
            ]
            fp32, *others = _in_turn(calls, torch.randn(rows, width), repeats=max(1, 512 // rows))
            shares = "".join(f"{t / fp32:>{w}.2f}" for t, w in zip(others, (8, 9, 8), strict=True))
            scales = "row" if per_token else "batch"
            print(f"{width:>6}x{outputs:<5}{rows:>6}{scales:>8}{1e6 * fp32:>9.0f}{shares}{others[2] / others[0]:>7.2f}")


def _in_turn(calls: list[Call], inputs: torch.Tensor, *, repeats: int) -> list[float]:
    samples: list[list[float]] = [[] for _ in calls]
    with torch.inference_mode():
        for call in calls:
            call(inputs)
        for _ in range(ROUNDS):
            for call, seconds in zip(calls, samples, strict=True):
                started = time.perf_counter()
                for _ in range(repeats):
                    call(inputs)
                seconds.append((time.perf_counter() - started) / repeats)
    return [statistics.quantiles(seconds)[0] for seconds in samples]


if __name__ == "__main__":
    main()
