"""The passes of a model that writes text: over the prompt, then over one token after the other."""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def next_token_pass(model: Any, ids: torch.Tensor, past: Any = None) -> Any:
    """Return the output for tokens of shape (batch, length) that follow those in the cache ``past``.

    ``logits`` are those of the last position alone, of shape (batch, 1, vocabulary), if the model can leave out the
    others; ``past_key_values`` holds the states of all tokens so far.
    """
    model_class: Any = type(model)
    last_only = {"logits_to_keep": 1} if _can_leave_out_logits(model_class) else {}
    return model(input_ids=ids, past_key_values=past, use_cache=True, **last_only)


@cache
def _can_leave_out_logits(model_class: Any) -> bool:
    return "logits_to_keep" in inspect.signature(model_class.forward).parameters
