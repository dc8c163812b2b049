"""Pretraining goes on under another head where the word embeddings are the output matrix, and is refused elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.decoders.output_matrix import with_output_matrix
from autoopt.strategies.unsupervised.causal_language_modeling import CausalLanguageModeling
from tests import tiny_decoder, zoo

IDS = torch.arange(24).reshape(2, 12)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "granite"])
def test_the_language_model_under_another_head_is_the_one_that_was_saved(kind: str, tmp_path: Path) -> None:
    whole = with_output_matrix(zoo.classifier(kind, tmp_path).model)
    with torch.inference_mode():
        expected = tiny_decoder.model(kind, **zoo.DECODERS[kind])(input_ids=IDS).logits
        torch.testing.assert_close(whole(input_ids=IDS).logits, expected)


def test_pretraining_lowers_the_loss_of_the_words_and_keeps_the_head(tmp_path: Path) -> None:
    given = zoo.classifier("llama", tmp_path)
    trained = CausalLanguageModeling(block=16, batch_size=4, learning_rate=2e-4).apply(given, effort=1.0, seed=0)

    def loss(model: object) -> float:
        with torch.inference_mode():
            features = given.tokenizer(given.unlabeled[0], return_tensors="pt")["input_ids"]
            return float(with_output_matrix(model)(input_ids=features, labels=features).loss)

    assert loss(trained.model) < loss(given.model)
    after, before = trained.model.state_dict(), given.model.state_dict()
    assert torch.equal(after["classifier.weight"], before["classifier.weight"])


def test_an_output_matrix_that_the_model_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"predicts words with lm_head.weight, which it does not have in this task"):
        with_output_matrix(zoo.classifier("llama", tmp_path, tied=False).model)
