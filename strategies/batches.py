"""Batches of tokenized examples, padded to their own longest and never to a fixed length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from autoopt.strategies import quiet
from autoopt.strategies.candidate import ANSWERS, Features

if TYPE_CHECKING:
    import torch

IGNORED_LABEL = -100
"""What torch's cross entropy leaves out of the loss."""


def collate(features: Sequence[Features], *, pad_token_id: int) -> dict[str, torch.Tensor]:
    """Pad to the longest of these examples; tensors of shape (batch, length), single numbers of shape (batch,)."""
    import torch

    batch = {}
    for name, first in features[0].items():
        values = [item[name] for item in features]
        if isinstance(first, list):
            fill = {"input_ids": pad_token_id, "labels": IGNORED_LABEL}.get(name, 0)
            longest = max(map(len, values))
            values = [value + [fill] * (longest - len(value)) for value in values]
        batch[name] = torch.tensor(values)
    return batch


def forward(
    model: Any, features: Sequence[Features], *, pad_token_id: int, batch_size: int = 32, hidden_states: bool = False
) -> Iterator[tuple[list[int], dict[str, torch.Tensor], Any]]:
    """Run the model over the examples without gradients, sorted by length; yield (positions, batch, output).

    ``positions`` are the places of the batch's examples in ``features``. What is right is not given to the model.
    """
    import torch

    model.eval()
    order = sorted(range(len(features)), key=lambda index: len(features[index]["input_ids"]))
    for start in range(0, len(order), batch_size):
        positions = order[start : start + batch_size]
        batch = collate([features[index] for index in positions], pad_token_id=pad_token_id)
        inputs = {name: tensor.to(model.device) for name, tensor in batch.items() if name not in ANSWERS}
        with torch.inference_mode(), quiet.step():
            output = model(**inputs, output_hidden_states=hidden_states)
        yield positions, batch, output
