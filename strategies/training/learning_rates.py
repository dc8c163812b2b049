"""The learning rate that suits a model's size, and knobs that leave it to that."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

AUTO: Final = "auto"
"""Value of a knob: the learning rate follows from the size of the model."""

LearningRate: TypeAlias = float | Literal["auto"]

BASE_RATE = 1.5e-4
"""Learning rate of full fine-tuning for ``BASE_WIDTH`` and ``BASE_DEPTH``, those of MiniLM, and for smaller models."""
BASE_WIDTH = 384
BASE_DEPTH = 6


def resolve(rate: LearningRate, model: Any) -> float:
    """Return ``rate``, or for ``AUTO`` the rate of full fine-tuning that suits the model.

    It falls with width times depth: 1.5e-4 for MiniLM, 3.8e-5 for BERT-base, 1.4e-5 for BERT-large.
    """
    if rate != AUTO:
        return float(rate)
    size = float(model.config.hidden_size * model.config.num_hidden_layers)
    return BASE_RATE * min(1.0, BASE_WIDTH * BASE_DEPTH / size)
