"""What a strategy needs of an architecture is found in the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from autoopt.objectives.tasks import open_task
from autoopt.strategies.acceleration.int8_embeddings import Int8Embeddings
from autoopt.strategies.compression.embedding_factorization import EmbeddingFactorization
from autoopt.strategies.compression.vocabulary_pruning import VocabularyPruning
from autoopt.strategies.errors import ModelError
from autoopt.strategies.model_needs import MODEL_NEEDS, unmet
from autoopt.strategies.probe import answers, check_saved
from autoopt.strategies.strategy import Strategy
from tests import tiny, zoo


def lacked(model: object) -> set[str]:
    return {need for need in MODEL_NEEDS if unmet(frozenset({need, "labels"}), model) is not None}


@pytest.mark.parametrize(
    ("kind", "needs"),
    [
        ("llama", {"biases", "bidirectional", "dropout"}),
        ("qwen2", {"bidirectional", "dropout"}),
        ("gpt2", {"bidirectional", "feed-forward", "linear layers", "separate heads"}),
        ("phi3", {"biases", "bidirectional", "dropout", "separate heads"}),
    ],
)
def test_what_a_decoder_lacks(kind: str, needs: set[str], tmp_path: Path) -> None:
    assert lacked(zoo.classifier(kind, tmp_path).model) == needs


@pytest.mark.parametrize("strategy", [Int8Embeddings(), EmbeddingFactorization()])
def test_word_embeddings_that_are_scaled_are_not_replaced_by_plain_ones(strategy: Strategy, tmp_path: Path) -> None:
    given = zoo.classifier("gemma3_text", tmp_path)
    with pytest.raises(ModelError, match=r"gemma3_text does more than look its word embeddings up \(Gemma3TextScaled"):
        strategy.apply(given, effort=1.0, seed=0)


def test_scaled_word_embeddings_keep_their_scale_with_fewer_words(tmp_path: Path) -> None:
    given = zoo.classifier("gemma3_text", tmp_path)
    pruned = VocabularyPruning(common=40).apply(given, effort=1.0, seed=0)
    assert pruned.model.config.vocab_size < given.model.config.vocab_size
    expected, actual = (torch.cat(answers(one, given.train[:4], 4)) for one in (given, pruned))
    torch.testing.assert_close(actual, expected)
    check_saved(pruned, open_task=open_task)


def test_an_encoder_lacks_nothing_but_the_order_of_reading() -> None:
    assert lacked(tiny.model()) == {"causal"}
    assert unmet(frozenset({"causal"}), tiny.model()) == (
        "it needs a model in which each token sees those before it only, such as GPT-2"
    )
