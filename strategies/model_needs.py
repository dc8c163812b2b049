"""What strategies may need of a model's architecture, and whether a model has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.architectures import layout, linear_paths


def unmet(needs: frozenset[str], model: Any) -> str | None:
    """Return why the model lacks one of the needs of a strategy, in a line; None if it has all of them.

    Needs that are not of the architecture are not looked at.
    """
    for need in sorted(needs & MODEL_NEEDS.keys()):
        try:
            if not _CHECKS[need](model):
                return f"it needs {MODEL_NEEDS[need]}"
        except ModelError as error:
            return str(error)
    return None


def is_causal(model: Any) -> bool:
    """Return whether the states of a token do not depend on those that follow, by a forward pass of the body."""
    import torch

    body = model.base_model
    was_training = body.training
    words = model.get_input_embeddings().weight.shape[0]
    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 5]], device=body.device) % words
    with torch.inference_mode():
        first, second = body.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[:, 0]
    body.train(was_training)
    return torch.allclose(first, second, rtol=1e-4, atol=1e-6)


def _has_biases(model: Any) -> bool:
    return any(name.endswith("bias") for name, _ in model.base_model.named_parameters())


def _has_dropout(model: Any) -> bool:
    from torch import nn

    rates = [part.p for part in model.base_model.modules() if isinstance(part, nn.Dropout)]
    return max([getattr(model.config, "attention_dropout", None) or 0.0, *rates]) > 0


MODEL_NEEDS: Mapping[str, str] = MappingProxyType(
    {
        "biases": "a model with biases",
        "bidirectional": "a model in which each token sees the whole text, such as BERT",
        "causal": "a model in which each token sees those before it only, such as GPT-2",
        "dropout": "a model with dropout",
        "feed-forward": "one feed-forward block of linear layers in each layer",
        "linear layers": "linear layers",
        "separate heads": "a matrix each for query, key and value",
    }
)
"""Needs that depend on the architecture, in words."""
_CHECKS: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "biases": _has_biases,
        "bidirectional": lambda model: not is_causal(model),
        "causal": is_causal,
        "dropout": _has_dropout,
        "feed-forward": lambda model: bool(layout(model).ffn_width),
        "linear layers": lambda model: bool(linear_paths(model)),
        "separate heads": lambda model: layout(model).head_size > 0,
    }
)
