from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autoopt.objectives.tasks import open_task
from autoopt.strategies import saving
from autoopt.strategies.acceleration.int4_tinygemm import Int4Tinygemm
from autoopt.strategies.acceleration.int8_dynamic import Int8Dynamic
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.networks.architectures import output_paths
from autoopt.strategies.probe import check_saved
from autoopt.strategies.stand_ins.int8_linear import Int8Linear
from autoopt.strategies.stand_ins.tinygemm_linear import GROUP, TinygemmLinear
from tests import tiny_decoder


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 32), (40, 24), (32, 8), (7, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_multiplies_with_the_weights_that_its_codes_stand_for(inputs: int, outputs: int, *, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(inputs, outputs, bias=bias)
    small = TinygemmLinear.of(linear)
    weight = small.dequantized()
    steps = torch.stack([part.amax() - part.amin() for part in torch.split(weight.flatten(), GROUP)]).amax() / 15
    assert (weight - linear.weight).abs().amax() <= 1.1 * max(float(steps), 1e-3)
    rows = torch.randn(5, 2, inputs)
    expected = nn.functional.linear(rows.bfloat16().float(), weight, linear.bias)
    answered = small(rows)
    assert answered.shape == (5, 2, outputs)
    assert (answered - expected).norm() <= 0.02 * expected.norm()


def test_weights_of_sixteen_values_are_kept() -> None:
    linear = nn.Linear(2 * GROUP, 16, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.randint(-8, 8, linear.weight.shape) / 4.0)
        linear.weight[:, ::GROUP], linear.weight[:, 1::GROUP] = -2.0, 1.75
    assert torch.equal(TinygemmLinear.of(linear).dequantized(), linear.weight)


def test_a_copy_and_a_loaded_one_answer_alike() -> None:
    small, rows = TinygemmLinear.of(nn.Linear(64, 16)), torch.randn(3, 64)
    before = small(rows)
    loaded = TinygemmLinear(64, 16, bias=True)
    loaded(rows)
    loaded.load_state_dict(small.state_dict())
    assert torch.equal(loaded(rows), before)
    assert torch.equal(copy.deepcopy(small)(rows), before)
    assert torch.equal(copy.deepcopy(small).float()(rows), before), "a model that is loaded is cast"


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def decoder(request: pytest.FixtureRequest) -> Candidate:
    """A language model whose output matrix is its word embeddings, or one of its own."""
    candidate = tiny_decoder.candidate()
    model: Any = copy.deepcopy(candidate.model)
    model.config.tie_word_embeddings, model.config.dtype = request.param, torch.float32
    if not request.param:
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone() + 0.01)
        model.all_tied_weights_keys = {}
    return replace(candidate, model=model)


def logits(candidate: Candidate) -> torch.Tensor:
    model: Any = candidate.model
    with torch.inference_mode():
        answered: torch.Tensor = model(input_ids=torch.arange(4, 20)[None]).logits
    return answered


def rounded(candidate: Candidate, made: Candidate) -> Any:
    """Return the candidate's model with the weights that those of ``made`` stand for."""
    model: Any = candidate.copy_model()
    with torch.no_grad():
        for path, module in made.model.named_modules():
            if isinstance(module, TinygemmLinear):
                model.get_submodule(path).weight.copy_(module.dequantized())
    return model


@pytest.mark.parametrize(
    ("strategy", "layer", "error"), [(Int4Tinygemm(), TinygemmLinear, 0.05), (Int8Dynamic(), Int8Linear, 0.25)]
)
def test_all_that_a_token_is_multiplied_with_is_small_and_is_saved(
    decoder: Candidate, strategy: Any, layer: type[nn.Module], error: float, tmp_path: Path
) -> None:
    before = logits(decoder)
    made = strategy.apply(decoder, effort=1, seed=0)
    model: Any = made.model
    assert not any(isinstance(module, nn.Linear) for module in model.modules())
    assert isinstance(model.lm_head, Int8Linear)
    assert model.lm_head.per_token, "one scale for all tokens of a batch ruins a language model"
    assert sum(isinstance(module, layer) for module in model.modules()) > 4
    expected = logits(replace(decoder, model=rounded(decoder, made)))
    assert (logits(made) - expected).norm() <= error * expected.norm()
    assert torch.equal(logits(decoder), before), "the candidate's own model stays"
    embeddings: Any = decoder.model.get_input_embeddings()
    assert torch.equal(model.get_input_embeddings().weight, embeddings.weight), "words are still looked up as they were"
    check_saved(made, open_task=open_task)
    saving.save(made, tmp_path / "saved")
    loaded: Any = saving.load(tmp_path / "saved", open_task=open_task).model
    assert not loaded.config.tie_word_embeddings
    again = copy.deepcopy(loaded)
    again.tie_weights()
    assert torch.equal(logits(replace(made, model=again)), logits(made)), "nothing is tied again"


def test_a_classifier_has_no_output_matrix() -> None:
    from tests import tiny

    assert output_paths(tiny.candidate().model) == []
    assert output_paths(tiny_decoder.candidate().model) == ["lm_head"]
