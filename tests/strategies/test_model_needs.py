"""What a strategy needs of an architecture is found in the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.strategies.model_needs import MODEL_NEEDS, unmet
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


def test_an_encoder_lacks_nothing_but_the_order_of_reading() -> None:
    assert lacked(tiny.model()) == {"causal"}
    assert unmet(frozenset({"causal"}), tiny.model()) == (
        "it needs a model in which each token sees those before it only, such as GPT-2"
    )
