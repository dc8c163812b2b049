"""How a training on a GPU computes: low precision, the fused optimizer, and fused attention; seen on a stand-in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from autoopt.strategies.candidate import Candidate
from autoopt.strategies.system.devices import training_on
from autoopt.strategies.training import loop, precision
from autoopt.strategies.training.loop import Schedule, train
from autoopt.strategies.training.loss_scaling import LossScaler
from tests import tiny
from tests.strategies.recording_device import RecordingDevice

SCHEDULE = Schedule(learning_rate=2e-3, epochs=1, batch_size=8)


def run(given: Candidate) -> list[float]:
    with training_on(RecordingDevice()):
        return train(given.model, given.features(), SCHEDULE, pad_token_id=0, effort=1, seed=0)


def dtypes_of(given: Candidate) -> set[torch.dtype]:
    """The dtypes of what the model's linear layers return while it is trained."""
    seen: set[torch.dtype] = set()
    for module in given.model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda _, __, output: seen.add(output.dtype))
    run(given)
    return seen


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_products_are_computed_in_the_precision_of_the_device_and_weights_stay(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (precision, loop):
        monkeypatch.setattr(module, "training_precision", lambda _: dtype)
    given = tiny.candidate(layers=2)
    assert dtypes_of(given) == {dtype}
    assert {parameter.dtype for parameter in given.model.parameters()} == {torch.float32}


def test_the_loss_is_scaled_in_float16_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled: list[float] = []
    forward = LossScaler.forward

    def seen(self: LossScaler, loss: torch.Tensor) -> torch.Tensor:
        scaled.append(float(loss.detach()))
        return forward(self, loss)

    monkeypatch.setattr(LossScaler, "forward", seen)
    for dtype in (torch.bfloat16, torch.float16):
        for module in (precision, loop):
            monkeypatch.setattr(module, "training_precision", lambda _, dtype=dtype: dtype)
        run(tiny.candidate(layers=2))
        assert len(scaled) == (3 if dtype is torch.float16 else 0)


@pytest.mark.parametrize(
    ("has_bfloat16", "dtype"), [(True, torch.bfloat16), (False, torch.float16)], ids=["with", "without"]
)
def test_a_gpu_without_units_for_bfloat16_trains_in_float16(
    has_bfloat16: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)
    assert precision.training_precision(torch.device("cuda")) is dtype


def test_the_optimizer_is_fused_and_attention_is_one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizers: list[Any] = []
    attentions: list[int] = []
    step, attention = torch.optim.AdamW.step, nn.functional.scaled_dot_product_attention

    def seen_step(self: Any) -> Any:
        optimizers.append(self)
        return step(self)

    def seen_attention(*args: Any, **named: Any) -> Any:
        attentions.append(1)
        return attention(*args, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", seen_step)
    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", seen_attention)
    run(tiny.candidate(layers=2))
    assert [optimizer.defaults["fused"] for optimizer in optimizers] == [True] * 3
    assert len(attentions) == 3 * 2
