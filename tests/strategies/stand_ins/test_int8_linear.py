"""8-bit linear layers: near to fp32, the same by both kernels, and with the state of earlier versions."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from autoopt.strategies.stand_ins import int8_linear
from autoopt.strategies.stand_ins.int8_linear import LARGEST, Int8Linear

both = pytest.mark.parametrize("per_token", [False, True])
KERNELS = {"fbgemm": (True, True), "oneDNN": (False, True), "integers": (False, False)}


@pytest.fixture(autouse=True, params=KERNELS)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test runs by each kernel, as on a torch that lacks those before it."""
    fbgemm, onednn = KERNELS[request.param]
    assert int8_linear._has_fbgemm()
    assert int8_linear._has_onednn()
    monkeypatch.setattr(int8_linear, "_has_fbgemm", lambda: fbgemm)
    monkeypatch.setattr(int8_linear, "_has_onednn", lambda: onednn)
    return str(request.param)


def linear(*, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(96, 64, bias=bias)


@both
@pytest.mark.parametrize("rows", [1, 5, 64, 300])
@pytest.mark.parametrize("bias", [False, True])
def test_outputs_are_within_two_percent_of_fp32(per_token: bool, rows: int, bias: bool) -> None:
    layer, inputs = linear(bias=bias), torch.randn(rows, 96)
    with torch.inference_mode():
        expected, outputs = layer(inputs), Int8Linear.of(layer, per_token=per_token)(inputs)
    assert outputs.shape == expected.shape
    assert float((outputs - expected).norm() / expected.norm()) < 0.02


@both
@pytest.mark.parametrize("low", [-3.0, -0.2, 0.0, 0.5])
def test_the_kernels_that_stay_give_the_same(per_token: bool, low: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_linear, "_has_fbgemm", lambda: False)
    monkeypatch.setattr(int8_linear, "_has_onednn", lambda: True)
    layer, inputs = linear(), torch.rand(4, 50, 96) * 3 + low
    with torch.inference_mode():
        packed = Int8Linear.of(layer, per_token=per_token)(inputs)
        monkeypatch.setattr(int8_linear, "_has_onednn", lambda: False)
        assert torch.allclose(Int8Linear.of(layer, per_token=per_token)(inputs), packed, atol=1e-4)
    assert packed.shape == (4, 50, 64)


HAS_FBGEMM, HAS_ONEDNN = int8_linear._has_fbgemm.__wrapped__, int8_linear._has_onednn.__wrapped__


def test_a_torch_without_a_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HAS_FBGEMM()
    assert HAS_ONEDNN()
    monkeypatch.setattr(torch.ops, "onednn", object())
    monkeypatch.setattr(torch.ops, "quantized", object())
    assert not HAS_FBGEMM()
    assert not HAS_ONEDNN()


@both
def test_inputs_on_one_side_of_zero_use_all_8_bits(per_token: bool) -> None:
    """As those behind an activation do; symmetric codes would double the error."""
    layer = Int8Linear.of(nn.Linear(1536, 384, bias=False), per_token=per_token)
    inputs = nn.functional.gelu(torch.randn(64, 1536, generator=torch.Generator().manual_seed(0)))
    with torch.inference_mode():
        exact = nn.functional.linear(inputs, layer.qweight * layer.wscale[:, None])
        assert float((layer(inputs) - exact).norm() / exact.norm()) < 0.009


@both
def test_what_is_not_finite_stays_not_finite(per_token: bool) -> None:
    inputs = torch.ones(2, 96)
    inputs[0, 0] = torch.nan
    assert Int8Linear.of(linear(), per_token=per_token)(inputs)[0].isnan().all()


def test_with_a_scale_for_each_token_an_outlier_costs_its_own_row_only() -> None:
    layer, inputs = linear(), torch.randn(8, 96)
    inputs[0, 0] = 1e4
    with torch.inference_mode():
        expected, outputs = layer(inputs), Int8Linear.of(layer, per_token=True)(inputs)
        whole = Int8Linear.of(layer, per_token=False)(inputs)
    rows = (outputs - expected).norm(dim=1) / expected.norm(dim=1)
    assert float(rows[1:].max()) < 0.02
    assert float(((whole - expected).norm(dim=1) / expected.norm(dim=1))[1:].min()) > 0.5


def test_equal_weights_do_not_overflow() -> None:
    layer = nn.Linear(1024, 4, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    with torch.inference_mode():
        for rows in (2, 128):
            assert torch.allclose(Int8Linear.of(layer, per_token=False)(torch.ones(rows, 1024)), torch.tensor(1024.0))


ANSWERS_OF_FBGEMM = {
    False: [[-0.44375, -2.76282, -0.65954], [10.45019, 14.74024, 2.64503]],
    True: [[-0.43845, -2.74872, -0.65513], [10.41933, 14.67366, 2.62721]],
}
"""What this layer answered with the kernels of torch's dynamic quantization, by ``per_token``."""


@both
def test_a_state_of_earlier_versions_loads_and_answers_as_it_did(per_token: bool) -> None:
    state = {
        "qweight": ((torch.arange(3 * 48).reshape(3, 48) * 37) % 127 - 63).to(torch.int8),
        "wscale": torch.tensor([0.01, 0.02, 0.005]),
        "bias": torch.tensor([0.5, -0.5, 0.0]),
    }
    layer = Int8Linear(48, 3, bias=True, per_token=per_token)
    layer.load_state_dict(state, strict=True)
    assert set(layer.state_dict()) == set(state)
    waves = torch.sin(torch.arange(96.0).reshape(2, 48)) * torch.tensor([[1.0], [8.0]])
    with torch.inference_mode():
        outputs = layer(nn.functional.gelu(waves))
    expected = torch.tensor(ANSWERS_OF_FBGEMM[per_token])
    # Activations are rounded to other codes: an error of half a step in each of 48 products, not added up.
    assert torch.allclose(outputs, expected, atol=0.06, rtol=0.005)


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
