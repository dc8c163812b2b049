"""What every stand-in promises, and that a plain model is answered for as well."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest
import torch

from autoopt.strategies import stand_ins
from autoopt.strategies.acceleration.early_exit import EarlyExit
from autoopt.strategies.acceleration.onnx_runtime import OnnxRuntime
from autoopt.strategies.compression.weight_sharing import WeightSharing
from autoopt.strategies.stand_ins.contract import StandIn, architecture_of, parameter_count, timed
from autoopt.strategies.stand_ins.structure import structure_digest
from tests import tiny

MAKERS: dict[str, Callable[[], Any]] = {
    "onnx": lambda: OnnxRuntime().apply(tiny.candidate(), effort=0.0, seed=0).model,
    "early exits": lambda: EarlyExit().apply(tiny.candidate(), effort=0.0, seed=0).model,
}
every_stand_in = pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))


def test_every_stand_in_is_tested_here() -> None:
    """A model that replaces another one has its configuration and its class; layers that replace layers do not."""
    folder = [module.name for module in pkgutil.iter_modules(stand_ins.__path__, f"{stand_ins.__name__}.")]
    classes = {
        item.__name__
        for name in folder
        for item in vars(importlib.import_module(name)).values()
        if isinstance(item, type) and item.__module__ == name and hasattr(item, "parameter_count")
    }
    assert classes - {"StandIn"} == {type(make()).__name__ for make in MAKERS.values()}


def test_a_graph_counts_a_tied_weight_once() -> None:
    tied = WeightSharing().apply(tiny.candidate(), effort=0.0, seed=0)
    assert parameter_count(OnnxRuntime().apply(tied, effort=0.0, seed=0).model) == parameter_count(tied.model)
    assert parameter_count(tied.model) < parameter_count(tiny.model())


@every_stand_in
def test_it_can_be_loaded_and_moved_as_a_transformers_model(make: Callable[[], Any]) -> None:
    model = make()
    model.load_state_dict(make().state_dict())
    model.tie_weights()
    assert model.device == torch.device("cpu")
    assert set(model.all_tied_weights_keys) <= set(model.state_dict())


def batch() -> dict[str, torch.Tensor]:
    ids = torch.ones(2, 8, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@every_stand_in
def test_it_keeps_the_protocol(make: Callable[[], Any]) -> None:
    model = make()
    assert isinstance(model, StandIn)
    assert architecture_of(model) == type(tiny.model()).__name__
    assert model.config.num_labels == len(tiny.LABELS)
    assert parameter_count(model) >= parameter_count(tiny.model())


@every_stand_in
def test_its_structure_does_not_depend_on_its_weights(make: Callable[[], Any]) -> None:
    assert structure_digest(make()) == structure_digest(make()) != structure_digest(tiny.model())


@every_stand_in
def test_it_answers_while_it_is_timed_and_afterwards(make: Callable[[], Any]) -> None:
    model = make().eval()
    with torch.inference_mode():
        before = model(**batch()).logits
        with timed(model):
            assert model(**batch()).logits.shape == (2, len(tiny.LABELS))
        assert torch.equal(model(**batch()).logits, before)


def test_a_plain_model_is_no_stand_in_and_is_answered_for() -> None:
    model = tiny.model()
    assert not isinstance(model, StandIn)
    assert architecture_of(model) == "BertForSequenceClassification"
    with timed(model):
        model(**batch())
