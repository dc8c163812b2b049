"""A strategy that fails on a model's architecture is known before a search, for a few seconds once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoopt.objectives.models.model_folder import ModelFolder, find_model
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.search.space.architecture_probe import failures
from autoopt.strategies.adaptation.bitfit import BitFit
from autoopt.strategies.compression.head_pruning import HeadPruning
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.unsupervised.causal_language_modeling import CausalLanguageModeling
from autoopt.strategies.unsupervised.masked_language_modeling import MaskedLanguageModeling
from tests import tiny, tiny_decoder, zoo

TASK = TextClassification(labels=("a", "b"), max_length=16)


def found(folder: ModelFolder, *strategies: Strategy) -> dict[str, str]:
    return failures(folder, TASK, tiny.examples(), [example.text for example in tiny.examples()], strategies)


def test_what_fails_on_a_small_copy_is_said_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = find_model(str(zoo.save_pretrained("mpnet", tmp_path / "model")))
    reasons = found(folder, LayerDrop(), HeadPruning())
    assert reasons.keys() == {"head_pruning"}
    assert reasons["head_pruning"].startswith("all layers of mpnet share position biases for each head")
    (kept,) = (tmp_path / "cache").rglob("*.json")
    kept.write_text(json.dumps({"layer_drop": "as kept"}), encoding="utf-8")
    assert found(folder, LayerDrop(), HeadPruning()) == {"layer_drop": "as kept"}
    assert found(folder, LayerDrop()) == {}


def test_a_cache_that_cannot_be_read_or_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = find_model(str(zoo.save_pretrained("mpnet", tmp_path / "model")))
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert found(folder, LayerDrop()) == {}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert found(folder, LayerDrop()) == {}
    (kept,) = (tmp_path / "cache").rglob("*.json")
    kept.write_text('{"layer_drop": "half', encoding="utf-8")
    assert found(folder, LayerDrop()) == {}


def test_a_decoder_that_classifies_is_tried_too_and_lacks_what_it_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = find_model(str(tiny_decoder.save(tmp_path / "model", pad=False)))
    assert found(folder, HeadPruning(), BitFit(), MaskedLanguageModeling(), CausalLanguageModeling()) == {
        "bitfit": "it needs a model with biases",
        "masked_language_modeling": "it needs a model in which each token sees the whole text, such as BERT",
    }


def test_a_tested_encoder_lacks_what_decoders_have(tmp_path: Path) -> None:
    folder = find_model(str(zoo.save_pretrained("bert", tmp_path / "model")))
    assert found(folder, LayerDrop(), CausalLanguageModeling()).keys() == {"causal_language_modeling"}


def test_an_architecture_that_is_tested_with_every_strategy_is_not_tried_again(tmp_path: Path) -> None:
    folder = find_model(str(zoo.save_pretrained("roberta", tmp_path / "model")))
    (tmp_path / "model" / "tokenizer.json").unlink()
    assert found(folder, HeadPruning()) == {}
