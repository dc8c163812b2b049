"""8-bit linear layers: near to fp32, the same by both kernels, and with the state of earlier versions."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from autoopt.strategies.stand_ins import int8_linear
from autoopt.strategies.stand_ins.int8_linear import LARGEST, MANY_ROWS, Int8Linear

both = pytest.mark.parametrize("per_token", [False, True])


def linear(*, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(96, 64, bias=bias)


@both
@pytest.mark.parametrize("rows", [1, 5, MANY_ROWS, 300])
@pytest.mark.parametrize("bias", [False, True])
def test_outputs_are_within_two_percent_of_fp32(per_token: bool, rows: int, bias: bool) -> None:
    layer, inputs = linear(bias=bias), torch.randn(rows, 96)
    with torch.inference_mode():
        wanted, outputs = layer(inputs), Int8Linear.of(layer, per_token=per_token)(inputs)
    assert outputs.shape == wanted.shape
    assert float((outputs - wanted).norm() / wanted.norm()) < 0.02


@both
def test_both_kernels_give_the_same(per_token: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, inputs = Int8Linear.of(linear(), per_token=per_token), torch.randn(4, 50, 96)
    with torch.inference_mode():
        packed = layer(inputs)
        monkeypatch.setattr(int8_linear, "_has_onednn", lambda: False)
        assert torch.allclose(layer(inputs), packed, atol=1e-5)
    assert packed.shape == (4, 50, 64)


def test_with_a_scale_for_each_token_an_outlier_costs_its_own_row_only() -> None:
    layer, inputs = linear(), torch.randn(8, 96)
    inputs[0, 0] = 1e4
    with torch.inference_mode():
        wanted, outputs = layer(inputs), Int8Linear.of(layer, per_token=True)(inputs)
        whole = Int8Linear.of(layer, per_token=False)(inputs)
    rows = (outputs - wanted).norm(dim=1) / wanted.norm(dim=1)
    assert float(rows[1:].max()) < 0.02
    assert float(((whole - wanted).norm(dim=1) / wanted.norm(dim=1))[1:].min()) > 0.5


def test_equal_weights_do_not_overflow() -> None:
    layer = nn.Linear(1024, 4, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    with torch.inference_mode():
        for rows in (2, 2 * MANY_ROWS):
            assert torch.allclose(Int8Linear.of(layer, per_token=False)(torch.ones(rows, 1024)), torch.tensor(1024.0))


@both
def test_the_state_is_that_of_earlier_versions(per_token: bool) -> None:
    """The tensors that fbgemm's kernels were packed from, and what they answered."""
    layer = Int8Linear(4, 2, bias=True, per_token=per_token)
    state = {
        "qweight": torch.tensor([[63, -10, 5, 0], [-63, 63, 1, 2]], dtype=torch.int8),
        "wscale": torch.tensor([0.01, 0.02]),
        "bias": torch.tensor([0.5, -0.5]),
    }
    layer.load_state_dict(state, strict=True)
    assert set(layer.state_dict()) == set(state)
    outputs = layer(torch.tensor([[1.0, -0.5, 0.25, 0.0]]))
    assert torch.allclose(outputs, torch.tensor([[1.1925, -2.385]]), atol=0.02)


def test_a_copy_packs_its_weights_anew() -> None:
    layer = Int8Linear.of(linear(), per_token=False)
    inputs = torch.randn(100, 96)
    before = layer(inputs)
    other = copy.deepcopy(layer)
    assert torch.equal(other(inputs), before)
    other.load_state_dict({**layer.state_dict(), "qweight": -layer.qweight})
    assert not torch.allclose(other(inputs), before)
    assert int(layer.qweight.abs().max()) <= LARGEST


def test_no_rows_give_no_outputs() -> None:
    assert Int8Linear.of(linear(), per_token=False)(torch.zeros(0, 96)).shape == (0, 64)
