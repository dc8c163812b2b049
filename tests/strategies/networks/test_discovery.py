"""The parts of a model are found in the model itself, and a part that is not there has a reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from autoopt.objectives.tasks.causal_lm.generation import generate
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks import calibration
from autoopt.strategies.networks.architectures import layers, layout, linear_paths, set_layers
from autoopt.strategies.networks.pruning import keep_width
from autoopt.strategies.training import batches
from tests import tiny, tiny_decoder, zoo

SEPARATE = {
    "bert": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "distilbert": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "mpnet": ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
    "deberta-v2": ("attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"),
}


@pytest.mark.parametrize("kind", SEPARATE)
def test_query_key_and_value_are_found_in_this_order(kind: str) -> None:
    where = layout(zoo.candidate(kind).model)
    assert where.attention_inputs == SEPARATE[kind]
    assert (where.head_width, where.has_fused_gate) == (8, False)


def test_heads_whose_position_biases_all_layers_share_are_not_cut() -> None:
    with pytest.raises(ModelError, match="all layers of mpnet share position biases for each head; heads are not cut"):
        _ = layout(zoo.candidate("mpnet").model).head_size
    assert layout(zoo.candidate("bert").model).head_size == 8


@pytest.mark.parametrize(("kind", "name"), [("mpnet", "top_layers"), ("albert", "tsdae")])
def test_layers_that_return_a_tuple_of_one_and_narrow_embeddings_are_no_obstacle(kind: str, name: str) -> None:
    assert zoo.reasons(zoo.candidate(kind), [name]) == {name: None}


def test_the_parts_of_a_changed_model_are_where_they_were() -> None:
    model = tiny.model()
    before = layout(model)
    set_layers(model, [layers(model)[2]])
    assert layout(model) == before
    assert model.config.num_hidden_layers == 1


def test_a_fused_attention_with_a_gate_is_described_and_its_heads_stay() -> None:
    where = layout(zoo.candidate("modernbert").model)
    assert (where.attention, where.ffn_inputs, where.has_fused_gate) == (("attn.Wqkv",), ("mlp.Wi",), True)
    with pytest.raises(ModelError, match="modernbert has one matrix for query, key and value"):
        _ = where.head_size


def test_layers_that_are_one_layer_are_not_cut() -> None:
    with pytest.raises(ModelError, match="albert shares its layers"):
        LayerDrop().apply(zoo.candidate("albert"), effort=0, seed=0)


def test_a_decoder_has_a_gate_and_grouped_heads() -> None:
    where = layout(tiny_decoder.model())
    assert where.ffn_inputs == ("mlp.gate_proj", "mlp.up_proj")
    assert (where.heads, where.group, where.head_size) == (4, 2, 8)


def test_a_dropped_layer_takes_what_the_configuration_says_of_it_along_and_brings_it_back() -> None:
    model = zoo.candidate("modernbert", layers=4).model
    present, kinds = list(layers(model)), list(model.config.layer_types)
    assert kinds[0] == kinds[3] != kinds[1]
    set_layers(model, [present[0], present[3]])
    assert model.config.layer_types == [kinds[0], kinds[3]]
    assert [layer.layer_idx for layer in layers(model)] == [0, 1]
    set_layers(model, present)
    assert model.config.layer_types == kinds
    assert [layer.layer_idx for layer in layers(model)] == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["bert", "mpnet", "modernbert", "deberta-v2"])
def test_calibration_sees_what_each_layer_sees_in_the_model(kind: str) -> None:
    given = zoo.candidate(kind, layers=4)
    features = calibration.sample(given, 8, 0)
    calls = calibration.first_layer_calls(given.model, features, pad_token_id=0)
    for layer in list(layers(given.model))[:-1]:
        calls = [call.through(layer) for call in calls]
    ((_, batch, output),) = batches.forward(given.model, features, pad_token_id=0, hidden_states=True)
    present = batch["attention_mask"].bool()
    states = output.hidden_states[-2]
    alike = torch.cosine_similarity(calls[0].hidden[present].float(), states[present], dim=-1)
    assert alike.min() > 0.999  # Layers are called in mixed precision.


def test_a_fused_gate_keeps_the_columns_of_both_halves() -> None:
    model = zoo.candidate("modernbert").model
    layer: Any = layers(model)[0]
    whole = layer.mlp.Wi.weight.detach().clone()
    keep_width(model, layer, 16, [])
    assert torch.equal(layer.mlp.Wi.weight, torch.cat([whole[:16], whole[64:80]]))
    assert layer.mlp.Wo.in_features == 16


def test_a_decoder_writes_the_same_with_its_cache_after_a_layer_less() -> None:
    model = tiny_decoder.model(seed=3)
    set_layers(model, [layers(model)[1]])
    ids = [5, 6, 7]
    for _ in range(8):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
    assert list(generate(model, [5, 6, 7], end=-1, max_tokens=8).ids) == ids[3:]


def test_an_architecture_without_linear_layers_says_so() -> None:
    with pytest.raises(ModelError, match="gpt2 has no linear layers"):
        linear_paths(tiny_decoder.model("gpt2"))


def test_a_key_that_the_architecture_does_not_read_is_not_its_width() -> None:
    model = zoo.candidate("t5").model
    assert model.config.intermediate_size == model.config.d_ff
    assert layout(model).ffn_width == "d_ff"
