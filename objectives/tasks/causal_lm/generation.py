"""Greedy decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoopt.objectives.models.decoding import next_token_pass
from autoopt.strategies.system import measurement_gate


@dataclass(frozen=True)
class Continuation:
    """Tokens generated after a prompt."""

    ids: tuple[int, ...]
    """Without the end token."""
    score: float
    """Mean probability of the generated tokens, the end token included."""


def generate(model: Any, prompt: Sequence[int], *, end: int, max_tokens: int) -> Continuation:
    """Generate up to ``max_tokens`` tokens after the prompt, until one is ``end``. The result is deterministic.

    A prompt that is too long for the model loses its beginning.
    """
    import torch

    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None:
        max_tokens = min(max_tokens, max(1, positions // 2))
        prompt = prompt[-(positions - max_tokens) :]
    inputs, past = torch.tensor([list(prompt)], device=model.device), None
    ids: list[int] = []
    probabilities: list[float] = []
    if model.training:
        model.eval()
    while len(ids) < max_tokens:
        with torch.inference_mode(), measurement_gate.compute_step():
            output = next_token_pass(model, inputs, past)
        distribution = output.logits[0, -1].float().softmax(-1)
        token = int(distribution.argmax())
        probabilities.append(float(distribution[token]))
        if token == end:
            break
        ids.append(token)
        inputs, past = torch.tensor([[token]], device=model.device), output.past_key_values
    return Continuation(tuple(ids), sum(probabilities) / len(probabilities))
