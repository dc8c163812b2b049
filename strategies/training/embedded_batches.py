"""Batches given by word embeddings instead of token ids, so that a strategy can change the embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Batch

if TYPE_CHECKING:
    import torch

BYPASSING = frozenset({"linear_probe", "top_layers"})
"""Strategies that train on recorded hidden states: changes to the embeddings never reach them."""
CHANGING_EMBEDDINGS = frozenset({"adversarial_training", "cutoff", "mixup"})
"""Augmentations that evaluate the task's loss on changed embeddings: without effect on a training with another loss."""


def word_embeddings(model: Any, batch: Batch) -> torch.Tensor:
    """Return the word embeddings of the batch, (batch, length, width), before position embeddings are added."""
    return model.get_input_embeddings()(batch["input_ids"])  # type: ignore[no-any-return]


def with_embeddings(batch: Batch, embeddings: torch.Tensor, **changes: torch.Tensor) -> Batch:
    """Return the batch with ``embeddings`` in place of its token ids, and with ``changes``."""
    others = {name: tensor for name, tensor in batch.items() if name != "input_ids"}
    return {**others, "inputs_embeds": embeddings, **changes}
