"""Loss scaling: a gradient too small for float16 counts, one that is not finite costs a step and halves the scale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from autoopt.strategies.training import loop, precision
from autoopt.strategies.training.checkpoints import checkpointing
from autoopt.strategies.training.loop import Schedule, train
from autoopt.strategies.training.loss_scaling import GROWTH_STEPS, LossScaler
from autoopt.strategies.training.progress import reporting
from tests import tiny


def weight(gradient: float) -> nn.Parameter:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.full((2,), gradient)
    return parameter


def test_unscaled_gradients_are_those_of_the_loss() -> None:
    scaler, parameter = LossScaler(), nn.Parameter(torch.ones(2))
    scaler(3 * parameter.sum()).backward()
    scaler.unscale([parameter])
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [3.0, 3.0]


def test_a_gradient_too_small_for_float16_survives() -> None:
    scaler, parameter = LossScaler(), nn.Parameter(torch.ones(1))
    scaler((parameter.half() * 1e-3).float().sum() * 1e-6).backward()
    scaler.unscale([parameter])
    assert parameter.grad is not None
    assert float(parameter.grad) == pytest.approx(1e-9, rel=0.01)


@pytest.mark.parametrize("gradient", [float("inf"), float("nan")])
def test_a_gradient_that_is_not_finite_removes_all_and_halves_the_scale(gradient: float) -> None:
    scaler, broken, sound = LossScaler(), weight(gradient), weight(1.0)
    scaler.unscale([broken, sound])
    assert broken.grad is None
    assert sound.grad is None
    assert float(scaler.scale) == 2.0**15


def test_the_scale_grows_after_many_finite_steps() -> None:
    scaler = LossScaler()
    for _ in range(GROWTH_STEPS):
        scaler.unscale([weight(1.0)])
    assert float(scaler.scale) == 2.0**17


def test_training_in_float16_learns_and_resumes_with_its_scale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def trained(cut: bool) -> list[float]:
        candidate = tiny.candidate(layers=2)
        schedule = Schedule(learning_rate=2e-3, epochs=15, batch_size=8)

        def stop(done: int, _: int) -> None:
            if cut and done == 20:
                raise KeyboardInterrupt

        for _ in range(1 + cut):
            try:
                with checkpointing(tmp_path / str(cut), interval_s=0), reporting(stop, interval_s=0):
                    return train(candidate.model, candidate.features(), schedule, pad_token_id=0, effort=1, seed=0)
            except KeyboardInterrupt:
                cut, candidate = False, tiny.candidate(layers=2)
        raise AssertionError

    for module in (precision, loop):
        monkeypatch.setattr(module, "training_precision", lambda _: torch.float16)
    losses = trained(cut=False)
    assert sum(losses[-5:]) < sum(losses[:5]) / 2
    assert trained(cut=True) == losses
