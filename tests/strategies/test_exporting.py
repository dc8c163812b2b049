"""A pooled classifier as sentence-transformers opens it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoopt.strategies import saving
from autoopt.strategies.acceleration.int8_dynamic import Int8Dynamic
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.errors import ModelError
from autoopt.strategies.exporting import export_sentence_transformer
from autoopt.strategies.networks.pooling import POOLINGS, pooling_edits, with_pooling
from tests import tiny


def trained(how: str, *, unit: bool = False, kind: str = "bert") -> Candidate:
    given = tiny.candidate(kind, layers=2)
    model = with_pooling(given.model, how, normalizes=unit, seed=0)
    given = replace(given, model=model, edits=pooling_edits(model))
    return FullFinetuning(learning_rate=2e-3, epochs=2).apply(given, effort=1, seed=0)


def exported(candidate: Candidate, folder: Path) -> Path:
    saving.save(candidate, folder / "saved")
    export_sentence_transformer(folder / "saved", folder / "exported")
    return folder / "exported"


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("how", POOLINGS)
def test_sentence_transformers_gives_the_same_answers(how: str, unit: bool, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
    given = trained(how, unit=unit)
    folder = exported(given, tmp_path)
    opened: Any = library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    examples = tiny.examples(12, seed=3)
    answers = opened.encode([example.text for example in examples], show_progress_bar=False)
    np.testing.assert_allclose(answers, tiny.logits(given).numpy(), atol=1e-5, rtol=1e-4)
    assert answers.std() > 0.1


def test_a_prompt_goes_along(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
    plain = trained("mean")
    given = replace(plain, task=replace(plain.task, prompt="today the "))  # type: ignore[type-var]
    opened: Any = library.SentenceTransformer(str(exported(given, tmp_path)), device="cpu", local_files_only=True)
    answers = opened.encode([example.text for example in tiny.examples(12, seed=3)], show_progress_bar=False)
    np.testing.assert_allclose(answers, tiny.logits(given).numpy(), atol=1e-5, rtol=1e-4)
    assert not np.allclose(answers, tiny.logits(plain).numpy(), atol=1e-3)


def test_a_text_is_cut_at_the_length_of_the_task(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
    given = trained("mean")
    opened: Any = library.SentenceTransformer(str(exported(given, tmp_path)), device="cpu", local_files_only=True)
    text = "chelsea won the cup " * 20
    logits = opened.encode([text], show_progress_bar=False)
    features = given.tokenizer(text, truncation=True, max_length=16, return_tensors="pt")
    with torch.inference_mode():
        np.testing.assert_allclose(logits, given.model(**features).logits.numpy(), atol=1e-5)


def test_the_classes_are_named(tmp_path: Path) -> None:
    folder = exported(trained("mean", kind="distilbert"), tmp_path)
    assert json.loads((folder / "config.json").read_text("utf-8"))["id2label"] == {"0": "business", "1": "sport"}


def test_what_sentence_transformers_cannot_run_is_refused(tmp_path: Path) -> None:
    quantized = Int8Dynamic().apply(trained("mean"), effort=1, seed=0)
    with pytest.raises(ModelError, match="was changed by int8_dynamic, which sentence-transformers cannot run"):
        exported(quantized, tmp_path)
    assert not (tmp_path / "exported").exists()
    with pytest.raises(ModelError, match="has the head of BertForSequenceClassification, which transformers opens"):
        exported(tiny.candidate(layers=1), tmp_path)
