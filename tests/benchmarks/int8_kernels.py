"""Time the kernels for 8-bit linear layers in turn: fbgemm's packed one, the plain integer product, oneDNN's.

    python tests/benchmarks/int8_kernels.py

One thread, layers of MiniLM's shapes, median of 40 rounds; times in microseconds and as a share of fp32.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import nn

from autoopt.strategies.stand_ins import int8_linear
from autoopt.strategies.stand_ins.int8_linear import Int8Linear

ROUNDS = 40


def fbgemm(layer: Int8Linear, inputs: torch.Tensor) -> Callable[[], torch.Tensor]:
    """The kernel of torch's dynamic quantization, which torch announces to remove."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zeros = torch.zeros(len(layer.wscale), dtype=torch.long)
        weight = torch._make_per_channel_quantized_tensor(layer.qweight, layer.wscale.double(), zeros, 0)
        packed = torch.ops.quantized.linear_prepack(weight, layer.bias)
    return lambda: torch.ops.quantized.linear_dynamic(inputs, packed, reduce_range=False)


def with_kernel(layer: Int8Linear, inputs: torch.Tensor, rows: int) -> Callable[[], torch.Tensor]:
    """Our layer, with oneDNN from this number of rows on."""

    def call() -> torch.Tensor:
        int8_linear.MANY_ROWS = rows
        return layer(inputs)  # type: ignore[no-any-return]

    return call


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    print(f"{'layer':>12}{'rows':>6}{'fp32 us':>9}{'fbgemm':>8}{'integer':>9}{'oneDNN':>8}")
    for width, outputs in ((384, 384), (384, 1536), (1536, 384)):
        linear = nn.Linear(width, outputs)
        layer = Int8Linear.of(linear, per_token=False)
        for rows in (13, 32, 64, 128, 1024):
            inputs = torch.randn(rows, width)
            calls: list[Callable[[], torch.Tensor]] = [
                lambda linear=linear, inputs=inputs: linear(inputs),  # type: ignore[misc]
                fbgemm(layer, inputs),
                with_kernel(layer, inputs, 10**9),
                with_kernel(layer, inputs, 0),
            ]
            times = _in_turn(calls, repeats=max(1, 1024 // rows))
            shares = "".join(f"{t / times[0]:>{w}.2f}" for t, w in zip(times[1:], (8, 9, 8), strict=True))
            print(f"{width:>6}x{outputs:<5}{rows:>6}{1e6 * times[0]:>9.0f}{shares}", flush=True)


def _in_turn(calls: list[Callable[[], torch.Tensor]], *, repeats: int) -> list[float]:
    samples: list[list[float]] = [[] for _ in calls]
    with torch.inference_mode():
        for call in calls:
            call()
        for _ in range(ROUNDS):
            for call, taken in zip(calls, samples, strict=True):
                started = time.perf_counter()
                for _ in range(repeats):
                    call()
                taken.append((time.perf_counter() - started) / repeats)
    return [statistics.median(taken) for taken in samples]


if __name__ == "__main__":
    main()
