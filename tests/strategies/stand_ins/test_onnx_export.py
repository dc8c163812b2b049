"""Graphs of ONNX Runtime: exported once for each structure, then filled with other weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autoopt.strategies.acceleration.onnx_runtime import OnnxRuntime
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import find
from autoopt.strategies.stand_ins import onnx_export
from autoopt.strategies.stand_ins.onnx_export import Outline
from autoopt.strategies.stand_ins.structure import structure_digest
from tests import tiny


@pytest.fixture(scope="module")
def trained() -> Candidate:
    return FullFinetuning(learning_rate=2e-3, epochs=5).apply(tiny.candidate(), effort=1, seed=0)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "_OUTLINES", {})


def after(cut: str, candidate: Candidate, *, effort: float = 1.0) -> Candidate:
    return find(cut)().apply(candidate, effort=effort, seed=0) if cut else candidate


def never(_: Any) -> Any:
    raise AssertionError("it was exported once more")


SLOW_CUTS = ("ffn_pruning", "head_pruning", "weight_sharing", "embedding_factorization")


@pytest.mark.parametrize(
    "cut", ["", "layer_drop", "low_rank", *(pytest.param(cut, marks=pytest.mark.slow) for cut in SLOW_CUTS)]
)
def test_the_graph_of_other_weights_needs_no_further_export(
    cut: str, trained: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    OnnxRuntime(precision="fp32").apply(after(cut, tiny.candidate(), effort=0.0), effort=0, seed=0)
    other = after(cut, trained)
    monkeypatch.setattr(onnx_export, "_graph", never)
    graph = OnnxRuntime(precision="fp32").apply(other, effort=1, seed=0)
    np.testing.assert_allclose(tiny.logits(graph), tiny.logits(other), atol=1e-4)


def test_a_model_of_another_structure_is_exported(trained: Candidate) -> None:
    shapes = {
        structure_digest(after(cut, trained).model, configuration=True) for cut in ("", "layer_drop", "weight_sharing")
    }
    assert len(shapes) == 3
    eager = trained.copy_model()
    eager.config._attn_implementation = "eager"
    wider = trained.copy_model()
    wider.config.layer_norm_eps *= 2
    assert len({structure_digest(model, configuration=True) for model in (trained.model, eager, wider)}) == 3
    assert structure_digest(tiny.candidate().model, configuration=True) == structure_digest(
        trained.model, configuration=True
    )


@pytest.mark.slow
def test_a_graph_with_numbers_that_are_no_tensor_of_the_model_has_no_outline(
    trained: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx import numpy_helper

    assert Outline.of(trained.model) is not None
    export = onnx_export._graph

    def with_a_folded_one(model: Any) -> Any:
        proto = export(model)
        proto.graph.initializer.append(numpy_helper.from_array(np.arange(4, dtype=np.float32), "folded"))
        return proto

    monkeypatch.setattr(onnx_export, "_graph", with_a_folded_one)
    assert Outline.of(trained.model) is None
    graph = OnnxRuntime(precision="fp32").apply(trained, effort=1, seed=0)
    np.testing.assert_allclose(tiny.logits(graph), tiny.logits(trained), atol=1e-4)


@pytest.mark.slow
def test_an_outline_holds_no_weights_and_few_are_kept(trained: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "OUTLINES", 2)
    for cut in ("", "layer_drop", "ffn_pruning"):
        OnnxRuntime().apply(after(cut, trained), effort=1, seed=0)
    assert len(onnx_export._OUTLINES) == 2
    weights = sum(tensor.numel() for tensor in trained.model.parameters()) * 4
    outline = Outline.of(trained.model)
    assert outline is not None
    assert sum(len(held.raw_data) for held in outline.graph.graph.initializer) < weights / 20
