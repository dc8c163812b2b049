"""What every stand-in promises, and that a plain model is answered for as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from autoopt.strategies.acceleration.early_exit import EarlyExit
from autoopt.strategies.acceleration.onnx_runtime import OnnxRuntime
from autoopt.strategies.stand_ins.contract import StandIn, architecture_of, parameter_count, timed
from autoopt.strategies.stand_ins.structure import structure_digest
from tests import tiny

MAKERS: dict[str, Callable[[], Any]] = {
    "onnx": lambda: OnnxRuntime().apply(tiny.candidate(), effort=0.0, seed=0).model,
    "early exits": lambda: EarlyExit().apply(tiny.candidate(), effort=0.0, seed=0).model,
}
every_stand_in = pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))


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
