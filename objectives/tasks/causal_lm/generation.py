"""How a decoder goes on: the likeliest token, again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoopt.strategies.system import quiet


@dataclass(frozen=True)
class Continuation:
    """What was put after a prompt."""

    ids: tuple[int, ...]
    """Without the token that ends a text."""
    score: float
    """The mean probability of the tokens that were chosen, the one that ends the text among them."""


def continued(model: Any, prompt: Sequence[int], *, end: int, most: int) -> Continuation:
    """Put up to ``most`` tokens after the prompt, until one is ``end``; greedy, so the same each time.

    Of a prompt for which the model has no room the beginning is left out.
    """
    import torch

    room = getattr(model.config, "max_position_embeddings", None)
    most = most if room is None else min(most, max(1, room // 2))
    start = list(prompt if room is None else prompt[-(room - most) :])
    inputs, past = torch.tensor([start], device=model.device), None
    ids: list[int] = []
    chances: list[float] = []
    model.eval()
    while len(ids) < most:
        with torch.inference_mode(), quiet.step():
            output = model(input_ids=inputs, past_key_values=past, use_cache=True)
        likely = output.logits[0, -1].float().softmax(-1)
        chosen = int(likely.argmax())
        chances.append(float(likely[chosen]))
        if chosen == end:
            break
        ids.append(chosen)
        inputs, past = torch.tensor([[chosen]], device=model.device), output.past_key_values
    return Continuation(tuple(ids), sum(chances) / len(chances))
