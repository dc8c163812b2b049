"""What answers a text without a transformer, or with a frozen one and a linear model: models that classify."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Example
from tests.benchmarks.methods import by_hand, classical
from tests.benchmarks.methods.classical import Model
from tests.benchmarks.methods.data_sets import Splits

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSION = 256
"""model2vec: number of principal components, the default."""


def fasttext(splits: Splits) -> Model:
    """Return fastText (Joulin et al. 2017) with the settings of its tutorial: 25 epochs, step 1.0, pairs of words."""
    import fasttext as library

    def line(text: str) -> str:
        return " ".join(text.split())

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.txt"
        rows = (f"__label__{example.label} {line(example.text)}\n" for example in splits.data.train)
        file.write_text("".join(rows), encoding="utf-8")
        model = library.train_supervised(
            str(file), epoch=25, lr=1.0, wordNgrams=2, bucket=200_000, thread=1, verbose=0, seed=splits.seed
        )

    def answers(examples: Sequence[Example]) -> list[Any]:
        return [int(model.predict(line(example.text))[0][0].removeprefix("__label__")) for example in examples]

    return answers


def frozen(splits: Splits) -> Model:
    """Return logistic regression on the base model's mean-pooled states."""
    return _encoder_and_linear(splits, *classical.new_base())


def setfit(splits: Splits) -> Model:
    """Return SetFit's encoder with logistic regression."""
    return _encoder_and_linear(splits, *by_hand.contrasted(splits))


def _encoder_and_linear(splits: Splits, encoder: Any, tokenizer: Any) -> Model:
    import numpy as np
    import torch

    encoder.eval()
    parts = (splits.data.train, splits.data.validation)
    features = [classical.pool(classical.states_of(splits, part, encoder, tokenizer))["mean"] for part in parts]
    linear = classical.fitted(splits, *features)

    def vector(text: str) -> NDArray[Any]:
        inputs = tokenizer(text, truncation=True, max_length=splits.task.max_length, return_tensors="pt")
        with torch.inference_mode():
            mean = encoder(**inputs).last_hidden_state[0].mean(dim=0).numpy()
        return mean / np.linalg.norm(mean)  # type: ignore[no-any-return]

    return lambda examples: [int(linear.predict(vector(example.text)[None])[0]) for example in examples]


def model2vec(splits: Splits) -> Model:
    """Return model2vec's static embeddings of the base model, not trained further, with logistic regression."""
    static = _static()

    def vectors(examples: Sequence[Example]) -> NDArray[Any]:
        texts = [example.text for example in examples]
        return static.encode(texts, max_length=splits.task.max_length)  # type: ignore[no-any-return]

    linear = classical.fitted(splits, vectors(splits.data.train), vectors(splits.data.validation))
    return lambda examples: linear.predict(vectors(examples)).tolist()


@cache
def _static() -> Any:
    from model2vec.distill import distill_from_model

    return distill_from_model(*classical.new_base(), pca_dims=DIMENSION)
