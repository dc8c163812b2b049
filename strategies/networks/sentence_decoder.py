"""A small decoder that reconstructs a text from one vector; it shares the trunk's word embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from autoopt.strategies.networks.pooling import pool
from autoopt.strategies.training.batches import IGNORED_LABEL


class SentenceDecoder(nn.Module):
    """A trunk with a new decoder of one layer, which attends only to the pooled vector of the text."""

    def __init__(self, trunk: Any, *, pooling: str = "first") -> None:
        super().__init__()
        width, heads = trunk.config.hidden_size, trunk.config.num_attention_heads
        embeddings = trunk.get_input_embeddings().weight
        self.trunk = trunk
        self.pooling = pooling
        self.layer = nn.TransformerDecoderLayer(width, heads, 2 * width, batch_first=True)
        with torch.no_grad():
            entering = _embedded(trunk, torch.zeros(1, 1, dtype=torch.long, device=trunk.device)).shape[-1]
        self.enter = nn.Identity() if entering == width else nn.Linear(entering, width)
        self.words = nn.Linear(width, embeddings.shape[1])
        self.bias = nn.Parameter(torch.zeros(embeddings.shape[0]))
        self.to(trunk.device)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        """Return the mean cross entropy of each next token, given the previous ones and the text's vector.

        ``ids`` and ``mask`` have shape (batch, length); ``read`` is the mask without the tokens that are hidden from
        the trunk.
        """
        vector = pool(self.trunk(input_ids=ids, attention_mask=read).last_hidden_state, read, self.pooling)[:, None]
        length = ids.shape[1] - 1
        causal = torch.triu(torch.ones(length, length, dtype=torch.bool, device=ids.device), 1)
        states = self.layer(
            self.enter(_embedded(self.trunk, ids[:, :-1])),
            vector,
            tgt_mask=causal,
            tgt_key_padding_mask=mask[:, :-1] == 0,
        )
        logits = F.linear(self.words(states), self.trunk.get_input_embeddings().weight, self.bias)
        targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, IGNORED_LABEL)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED_LABEL)


def _embedded(trunk: Any, ids: torch.Tensor) -> torch.Tensor:
    """Return what enters the first layer; without positions if the architecture adds them in its layers."""
    embeddings = getattr(trunk, "embeddings", None)
    words: torch.Tensor = embeddings(input_ids=ids) if embeddings is not None else trunk.get_input_embeddings()(ids)
    return words
