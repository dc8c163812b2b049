"""A language model out of a decoder with another head, whose word embeddings are the output matrix."""

from __future__ import annotations

from typing import Any

from autoopt.strategies.errors import ModelError


def with_output_matrix(model: Any) -> Any:
    """Return the language model with the body of ``model``, which they share; ``model`` itself if it is one.

    Raises ``ModelError`` if its output matrix is not the word embeddings: a model with another head does not have it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if model.get_output_embeddings() is not None:
        return model
    with torch.device("meta"):
        whole: Any = AutoModelForCausalLM.from_config(model.config)  # type: ignore[no-untyped-call]
    setattr(whole, whole.base_model_prefix, model.base_model)
    whole.tie_weights()
    if missing := [name for name, weight in whole.named_parameters() if weight.is_meta]:
        raise ModelError(
            f"the model predicts words with {missing[0]}, which it does not have in this task; its word embeddings are "
            "not its output matrix"
        )
    return whole
