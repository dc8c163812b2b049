"""A batch whose words are given by their embeddings, so that these can be changed before the model reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoopt.strategies.candidate import Batch

if TYPE_CHECKING:
    import torch

BYPASSING = frozenset({"linear_probe", "top_layers"})
"""Strategies that learn above recorded states: what is done to the embeddings never reaches them."""


def word_embeddings(model: Any, batch: Batch) -> torch.Tensor:
    """(batch, length, width), before positions are added."""
    return model.get_input_embeddings()(batch["input_ids"])  # type: ignore[no-any-return]


def with_embeddings(batch: Batch, embeddings: torch.Tensor, **changes: torch.Tensor) -> Batch:
    """The batch with ``embeddings`` in place of its token numbers, and with ``changes``."""
    kept = {name: tensor for name, tensor in batch.items() if name != "input_ids"}
    return {**kept, "inputs_embeds": embeddings, **changes}
